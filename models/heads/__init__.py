"""Heads of detectors: feature vectors in, anomaly maps out.

A head is a module from features, float32 [N, d, g, g], to maps [N, g, g] of numbers that are 0 or more and higher where
something is wrong. Each can be exported to ONNX and rebuilt from its tensors.
"""
