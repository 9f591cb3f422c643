"""`python -m streaming` runs this room's own commands."""

from sightline.cli import run
from streaming.commands import app

run(app)
