"""The REST API of Sightline: who may do what, and every route under /v1."""
