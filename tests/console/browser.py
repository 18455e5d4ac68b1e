"""Where the browser is, and the sizes of windows that count."""

from __future__ import annotations

import shutil

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
SIZES = ((1440, 900), (390, 844))
