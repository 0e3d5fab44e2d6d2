"""AWS Signature Version 4: a request vouched for with the secret key, which never travels."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"


def signed(
    method: str,
    url: str,
    body: bytes,
    *,
    region: str,
    service: str,
    key_id: str,
    secret: str,
    at: datetime,
    content_type: str = "application/json",
) -> dict[str, str]:
    """The headers that such a request needs beside its own."""
    parts = urlsplit(url)
    instant = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"content-type": content_type, "host": parts.netloc, "x-amz-date": instant}
    names = ";".join(sorted(headers))
    request = "\n".join(
        [
            method,
            # Every service but one signs the path with what is encoded in it encoded once more.
            quote(parts.path or "/", safe="/-_.~"),
            "&".join(sorted(parts.query.split("&"))),
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{instant[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join([_ALGORITHM, instant, scope, hashlib.sha256(request.encode()).hexdigest()])
    signature = hmac.new(_signing_key(secret, scope), to_sign.encode(), hashlib.sha256).hexdigest()
    vouching = f"{_ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {"Content-Type": content_type, "X-Amz-Date": instant, "Authorization": vouching}


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
