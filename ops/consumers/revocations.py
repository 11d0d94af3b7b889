"""Follows Gatewright's feed of revocations, with the standard library only. See docs/verify-offline.md."""

import base64, json, threading, time, urllib.error, urllib.request
from datetime import datetime


class Revocations:
    def __init__(self, base_url, client_id, secret, max_stale=300.0, leeway=300.0):
        basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        self._url, self._headers = f"{base_url}/api/v1/revocations?wait=30", {"Authorization": f"Basic {basic}"}
        self._max_stale, self._leeway = max_stale, leeway
        self._ended, self._epoch, self._after, self._seen = {}, 0, None, None
        threading.Thread(target=self._follow, daemon=True).start()

    def is_revoked(self, sid, epoch=0):
        """Whether to refuse a token with these claims; true too while the list is unknown or too old."""
        seen = self._seen
        is_known = seen is not None and time.monotonic() - seen <= self._max_stale
        return not is_known or sid in self._ended or epoch < self._epoch

    def _follow(self):
        while True:
            try:
                self._read()
            except urllib.error.HTTPError as error:
                if error.code == 410 and self._after is not None:
                    self._after = None  # Read the whole list; what is known stays refused meanwhile.
                else:
                    time.sleep(1)
            except Exception:  # No answer, or one that is cut off: is_revoked() becomes true after max_stale.
                time.sleep(1)

    def _read(self):
        began = time.monotonic()
        url = self._url if self._after is None else f"{self._url}&after={self._after}"
        with urllib.request.urlopen(urllib.request.Request(url, headers=self._headers), timeout=40) as answer:
            page = json.load(answer)
        now, ended = time.time(), dict(self._ended)
        for one in page["revocations"]:
            ended[one["sid"]] = datetime.fromisoformat(one["until"][:19] + "+00:00").timestamp()
        self._ended = {sid: until for sid, until in ended.items() if until + self._leeway > now}
        self._epoch, self._after = page["epoch"], page["next"]
        if page["next"] >= page["newest"]:
            self._seen = began
