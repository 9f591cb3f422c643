"""Everything that starts a real part: broker, jars, Spark session, and the demo that runs them all."""
