"""Detectors: features, training, evaluation, calibration, export and registry. Offline, but for `models.runtime`."""
