"""The scorer used online: it decodes frames, loads a detector bundle and scores batches.

Importing this package imports neither torch nor mlflow nor a runtime: `load_scorer` imports the one it is asked for.
"""
