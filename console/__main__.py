"""`python -m console` runs this room's own commands."""

from console.commands import app
from sightline.cli import run

run(app)
