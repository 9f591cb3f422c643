"""Routes under /v1, one module a subject; each route declares the role that it needs."""
