"""`python -m infra` runs this room's own commands."""

from infra.commands import app
from sightline.cli import run

run(app)
