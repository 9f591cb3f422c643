"""Tables without Spark: what can be asked, what cannot, and what is said when it fails."""

from __future__ import annotations

import pytest
