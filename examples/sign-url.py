"""Signs a download link that expires. The key is an environment variable of the function, not part of its code.

Payload: {"path": "/files/report.pdf", "expires_in": 3600}
"""

import hashlib
import hmac
import time
from urllib.parse import urlencode


def handler(payload, zmesh):
    if "path" not in payload:
        return zmesh.response({"error": "missing in the payload: path"}, status=422)
    path = payload["path"]
    if not path.startswith("/"):
        raise ValueError("path must start with /")
    expires = int(time.time()) + int(payload.get("expires_in", 3600))
    message = f"{path}\n{expires}".encode()
    signature = hmac.new(zmesh.env.SIGNING_KEY.encode(), message, hashlib.sha256).hexdigest()
    query = urlencode({"expires": expires, "signature": signature})
    return {"url": f"{zmesh.env.BASE_URL}{path}?{query}", "expires": expires}
