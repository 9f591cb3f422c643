"""`python -m models` runs this room's own commands."""

from models.commands import app
from sightline.cli import run

run(app)
