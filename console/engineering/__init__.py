"""Engineers' questions to the history, answered with aggregates, never with a row a frame; for API and pages alike."""
