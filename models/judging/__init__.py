"""How good a detector is: metrics, thresholds, plots and a report, all from one pass over labelled frames."""
