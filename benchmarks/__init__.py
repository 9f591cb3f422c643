"""What `sightline bench` measures: ratios taken in one run on one machine, both sides in turn."""
