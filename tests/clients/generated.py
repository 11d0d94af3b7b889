"""Uses the client that openapi-python-client generates; see ../process/clients/generated.rs.

The first argument is the folder of the client, the second the URL of the server.
"""

import sys

sys.path.insert(0, sys.argv[1])

from gatewright_client import AuthenticatedClient, Client
from gatewright_client.api.about import get_well_known_oauth_authorization_server as metadata
from gatewright_client.api.accounts import (
    get_api_v1_auth_me,
    patch_api_v1_auth_me,
    post_api_auth_register,
    post_api_v1_auth_me_delete,
    post_api_v1_auth_register,
)
from gatewright_client.api.health import get_health_readiness
from gatewright_client.api.sessions import (
    delete_api_v1_auth_sessions_id,
    get_api_v1_auth_sessions,
    post_api_auth_login,
    post_api_v1_auth_logout,
    post_api_v1_auth_refresh,
    post_api_v1_auth_token,
)
from gatewright_client.models import (
    Changes,
    Erasure,
    FastApiRegistration,
    Login,
    Logout,
    OAuthError,
    Problem,
    Refresh,
    Registration,
    ServerMetadata,
    Session,
    TokenForm,
    TokenPair,
    TokenPairWithUser,
    User,
    ValidationErrors,
)

URL, PASSWORD = sys.argv[2], "TestPass123!"
client = Client(base_url=URL)


def is_a(kind, found):
    assert isinstance(found, kind), f"{found!r} is no {kind.__name__}"
    return found


def log_in(password=PASSWORD):
    return post_api_v1_auth_token.sync(client=client, body=TokenForm(username="ann", password=password))


assert get_health_readiness.sync(client=client).status == "ready"
is_a(ServerMetadata, metadata.sync(client=client))

new = Registration(email="ann@example.com", username="ann", password=PASSWORD)
user = is_a(User, post_api_v1_auth_register.sync(client=client, body=new))
assert (user.email, user.username, user.is_active, user.created_at.year > 2000) == ("ann@example.com", "ann", True, True)
assert is_a(Problem, post_api_v1_auth_register.sync(client=client, body=new)).code == "email_taken"
short = Registration(email="b@example.com", username="b", password="short")
errors = is_a(Problem, post_api_v1_auth_register.sync(client=client, body=short)).errors
assert {error.loc[1] for error in errors} == {"username", "password"}, errors

assert is_a(OAuthError, log_in("not the password")).error == "invalid_grant"
first = is_a(TokenPair, log_in())
other = is_a(TokenPair, log_in())
pair = is_a(TokenPair, post_api_v1_auth_refresh.sync(client=client, body=Refresh(refresh_token=first.refresh_token)))
assert pair.refresh_token != first.refresh_token

signed_in = AuthenticatedClient(base_url=URL, token=pair.access_token)
changes = Changes(username="anna", country="CH")
assert is_a(User, patch_api_v1_auth_me.sync(client=signed_in, body=changes)).username == "anna"
me = is_a(User, get_api_v1_auth_me.sync(client=signed_in))
assert me["country"] == "CH" and me.username == "anna"
assert is_a(User, patch_api_v1_auth_me.sync(client=signed_in, body=Changes(username=None))).username is None

sessions = get_api_v1_auth_sessions.sync(client=signed_in)
current = [is_a(Session, session).current for session in sessions]
assert sorted(current) == [False, True], sessions
ended = delete_api_v1_auth_sessions_id.sync_detailed(
    client=signed_in, id=next(session.id for session in sessions if not session.current)
)
assert ended.status_code == 204
refused = post_api_v1_auth_refresh.sync(client=client, body=Refresh(refresh_token=other.refresh_token))
assert is_a(Problem, refused).code == "refresh_refused"

logout = post_api_v1_auth_logout.sync_detailed(client=signed_in, body=Logout(refresh_token=pair.refresh_token))
assert logout.status_code == 204
assert is_a(Problem, get_api_v1_auth_me.sync(client=signed_in)).code == "token_invalid"

# The dialect of FastAPI services.
new = FastApiRegistration(email="ben@example.com", password=PASSWORD)
new["country"] = "DE"
pair = is_a(TokenPairWithUser, post_api_auth_register.sync(client=client, body=new))
assert pair.user["country"] == "DE"
login = Login(email="ben@example.com", password=PASSWORD)
pair = is_a(TokenPairWithUser, post_api_auth_login.sync(client=client, body=login))
short = FastApiRegistration(email="c@example.com", password="short")
assert is_a(ValidationErrors, post_api_auth_register.sync(client=client, body=short)).detail[0].loc == ["body", "password"]
erasing = AuthenticatedClient(base_url=URL, token=pair.access_token)
erased = post_api_v1_auth_me_delete.sync_detailed(client=erasing, body=Erasure(password=PASSWORD))
assert erased.status_code == 204

print("works")
