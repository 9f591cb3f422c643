"""The Spark queries `score` and `history`, the incident fold between them, and the schemas of the tables."""
