"""Verifies access tokens with Python's libraries; see ../process/clients/matrix.rs.

Reads what the server issued as JSON from standard input, and writes a row for each library.
"""

import importlib.metadata
import json
import os
import sys
import warnings

import requests

warnings.simplefilter("ignore")

server = json.load(sys.stdin)
algorithm, secret, jwks_uri = server["algorithm"], server["secret"], server["jwks_uri"]
issuer, audience = server["issuer"], server["audience"]


def pyjwt(token, **options):
    import jwt

    key = secret or jwt.PyJWKClient(jwks_uri).get_signing_key_from_jwt(token).key
    return jwt.decode(token, key, **options)


def python_jose(token, **options):
    from jose import jwt

    return jwt.decode(token, secret or requests.get(jwks_uri).json(), **options)


def authlib(token, algorithms=None, **claims):
    from authlib.jose import JsonWebKey, JsonWebToken, jwt

    decoder = JsonWebToken(algorithms) if algorithms else jwt
    keys = secret or JsonWebKey.import_key_set(requests.get(jwks_uri).json())
    claims = {name: {"essential": True, "value": value} for name, value in claims.items()}
    decoded = decoder.decode(token, keys, claims_options=claims)
    decoded.validate()
    return decoded


def authlib_rfc9068(token, issuer=None, resource_server=None):
    from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
    from joserfc.jwk import KeySet, OctKey

    class Validator(JWTBearerTokenValidator):
        def get_jwks(self):
            if secret:
                return OctKey.import_key(secret)
            return KeySet.import_key_set(requests.get(jwks_uri).json())

    validator = Validator(issuer=issuer, resource_server=resource_server)
    claims = validator.authenticate_token(token)
    validator.validate_token(claims, [], None)
    return claims


def joserfc(token, algorithms=None, **claims):
    from joserfc import jwt
    from joserfc.jwk import KeySet, OctKey

    keys = OctKey.import_key(secret) if secret else KeySet.import_key_set(requests.get(jwks_uri).json())
    decoded = jwt.decode(token, keys, algorithms=algorithms)
    claims = {name: {"essential": True, "value": value} for name, value in claims.items()}
    jwt.JWTClaimsRegistry(**claims).validate(decoded.claims)
    return decoded.claims


LIBRARIES = [
    ("PyJWT", "pyjwt", pyjwt, {"algorithms": [algorithm], "audience": audience, "issuer": issuer}),
    ("python-jose", "python-jose", python_jose,
     {"algorithms": [algorithm], "audience": audience, "issuer": issuer}),
    ("Authlib", "authlib", authlib, {"algorithms": [algorithm], "iss": issuer, "aud": audience}),
    ("Authlib, RFC 9068", "authlib", authlib_rfc9068, {"issuer": issuer, "resource_server": audience}),
    ("joserfc", "joserfc", joserfc, {"algorithms": [algorithm], "iss": issuer, "aud": audience}),
]


def refusal(verify, token, options):
    """Why the library refuses a token; None if it accepts it."""
    try:
        verify(token, **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def row(name, package, verify, options):
    tokens = server["tokens"]

    def without(option):
        return {name: value for name, value in options.items() if name != option}

    refused = {case: refusal(verify, token, options) for case, token in tokens.items()}
    needed = [option for option in options if refusal(verify, tokens["good"], without(option))]
    checked = {
        option: [case for case in refused if case != "good" and not refusal(verify, tokens[case], without(option))]
        for option in options
        if option not in needed
    }
    return {
        "library": name,
        "version": importlib.metadata.version(package),
        "defaults": refusal(verify, tokens["good"], {}),
        "refused": refused,
        "needed": needed,
        "checked": checked,
    }


def requests_oauthlib():
    """Discovery, login, refresh, introspection and revocation with requests-oauthlib."""
    from oauthlib.oauth2 import LegacyApplicationClient
    from requests_oauthlib import OAuth2Session

    metadata = requests.get(f"{issuer}/.well-known/oauth-authorization-server").json()
    assert metadata["issuer"] == issuer

    def log_in(password):
        session = OAuth2Session(client=LegacyApplicationClient(client_id="first-party"))
        session.fetch_token(metadata["token_endpoint"], username=server["username"], password=password)
        return session

    def state(token):
        call = {"data": {"token": token}, "auth": (server["client_id"], server["client_secret"])}
        return requests.post(metadata["introspection_endpoint"], **call).json()["active"]

    steps = {}

    def step(name, run):
        try:
            found = run()
            steps[name] = None if found is True else f"{found}"
        except Exception as error:
            steps[name] = f"{type(error).__name__}: {error}"

    session = None

    def login():
        nonlocal session
        session = log_in(server["password"])
        return session.get(server["me"]).json()["email"] == f"{server['username']}@example.com"

    def wrong_password():
        try:
            log_in("not the password")
        except Exception as error:
            return getattr(error, "error", None) == "invalid_grant"
        return False

    def refresh():
        before = dict(session.token)
        after = session.refresh_token(metadata["token_endpoint"])
        return before["refresh_token"] != after["refresh_token"] and "access_token" in after

    def revoke():
        uri, headers, body = session._client.prepare_token_revocation_request(
            metadata["revocation_endpoint"], session.token["refresh_token"], "refresh_token"
        )
        answer = requests.post(uri, headers=headers, data=body)
        return answer.status_code == 200 and state(session.token["access_token"]) is False

    step("login without https", login)
    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
    step("login", login)
    step("wrong password", wrong_password)
    step("refresh", refresh)
    step("introspection", lambda: state(session.token["access_token"]) is True)
    step("revocation", revoke)
    return {"library": "requests-oauthlib", "version": importlib.metadata.version("requests-oauthlib"), "steps": steps}


rows = [row(*library) for library in LIBRARIES]
json.dump({"rows": rows, "flow": requests_oauthlib()}, sys.stdout)
