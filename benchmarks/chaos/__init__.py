"""Sightline broken on purpose at seeded moments, and an oracle that counts what became of every frame."""
