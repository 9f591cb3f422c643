"""The scorer used online: it loads a detector bundle and scores batches, without torch."""
