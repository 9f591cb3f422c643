"""Which known defect a picture shows: learnt from labelled pictures, exported and scored as detectors are."""
