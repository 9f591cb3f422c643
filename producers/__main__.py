"""`python -m producers` runs this room's own commands."""

from producers.commands import app
from sightline.cli import run

run(app)
