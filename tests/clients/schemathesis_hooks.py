"""Lets schemathesis log in: each request with a bearer token has one of a user of its own."""

import base64
import os
import secrets

import requests
import schemathesis

URL = os.environ["PROBED_URL"]
CLIENT = base64.b64encode(f"shop:{os.environ['CLIENT_SECRET']}".encode()).decode()
PASSWORD = "TestPass123!"


def ways(case):
    return {way for ways in case.operation.definition.raw.get("security", []) for way in ways}


@schemathesis.auth(refresh_interval=None)
class Credentials:
    def get(self, case, context):
        if "client" in ways(case):
            return f"Basic {CLIENT}"
        if "bearer" in ways(case):
            user = {"email": f"u{secrets.token_hex(8)}@example.com", "password": PASSWORD}
            answer = requests.post(f"{URL}/api/auth/register", json=user, timeout=30)
            return f"Bearer {answer.json()['access_token']}"
        return None

    def set(self, case, data, context):
        if data is not None:
            case.headers["Authorization"] = data
