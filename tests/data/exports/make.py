"""Makes exports with the Python libraries of the systems: python3 make.py, in this folder. See README.md."""

import base64
import hashlib
import io
import json
import os
import struct
import subprocess
import sys

import argon2
import bcrypt
import django
from django.conf import settings

HERE = os.path.dirname(os.path.abspath(__file__))
ONE, TWO = "correct horse battery staple", "pässwörd ✓ 2"
PEOPLE = [("ana", ONE, True), ("bob", TWO, True), ("cle", ONE, False), ("dee", None, True)]
WHEN = "2024-05-06T07:08:09Z"


def write(name, text):
    with open(os.path.join(HERE, name), "w", encoding="utf-8", newline="") as file:
        file.write(text)


def pretty(name, value):
    write(name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def uuid(system, number):
    digits = hashlib.sha256(f"{system}{number}".encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"


def people(system):
    for number, (name, password, active) in enumerate(PEOPLE, 1):
        yield number, name, f"{name}@{system}.example", password, active


def blowfish(password, prefix=b"2b", cost=4):
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost, prefix)).decode()


def b64(data):
    return base64.b64encode(data).decode()


def bare(data):
    return b64(data).rstrip("=")


def table(name, columns, rows):
    def cell(value):
        text = "" if value is None else str(value)
        return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text

    lines = [",".join(columns)] + [",".join(cell(row.get(column)) for column in columns) for row in rows]
    write(name, "\r\n".join(lines) + "\r\n")


def with_django():
    settings.configure(
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        PASSWORD_HASHERS=[
            "django.contrib.auth.hashers.PBKDF2PasswordHasher",
            "django.contrib.auth.hashers.ScryptPasswordHasher",
            "django.contrib.auth.hashers.BCryptSHA256PasswordHasher",
        ],
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    )
    django.setup()
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import Group, User
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    editors = Group.objects.create(name="editors")
    for number, name, email, password, active in people("django"):
        user = User.objects.create(username=f"{name}-django", email=email, is_active=active, is_superuser=number == 2)
        if number == 2:
            user.password = make_password(password, hasher="scrypt")
        elif password:
            user.set_password(password)
        else:
            user.set_unusable_password()
        user.save()
        user.groups.add(editors)
    out = io.StringIO()
    call_command("dumpdata", indent=1, stdout=out)
    write("django.json", out.getvalue())


def with_fastapi_users():
    from fastapi_users.password import PasswordHelper

    helper = PasswordHelper()
    rows = []
    for number, name, email, password, active in people("fastapi-users"):
        rows.append({
            "id": uuid("fastapi-users", number),
            "email": email,
            "hashed_password": helper.hash(password) if password else "!",
            "is_active": "t" if active else "f",
            "is_superuser": "t" if number == 1 else "f",
            "is_verified": "t",
        })
    table("fastapi-users.csv", list(rows[0]), rows)


def with_bcrypt():
    rows = []
    for number, name, email, password, active in people("pocketbase"):
        if active:
            rows.append({
                "avatar": "", "created": "2024-05-06 07:08:09.123Z", "email": email, "emailVisibility": 0,
                "id": f"rec{number:012}", "lastLoginAlertSentAt": "", "name": name, "tokenKey": "k" * 50,
                "password": blowfish(password, b"2a") if password else "", "updated": "2024-05-06 07:08:09.123Z",
                "username": f"{name}_pocketbase", "verified": 1,
            })
    table("pocketbase.csv", list(rows[0]), rows)

    rows = []
    for number, name, email, password, active in people("supabase"):
        rows.append({
            "instance_id": uuid("none", 0), "id": uuid("supabase", number), "aud": "authenticated",
            "role": "authenticated", "email": email,
            "encrypted_password": blowfish(password, b"2a") if password else "",
            "email_confirmed_at": "2024-05-06 07:08:09.123456+00", "confirmation_token": "", "recovery_token": "",
            "raw_app_meta_data": json.dumps({"provider": "email", "providers": ["email"]}),
            "raw_user_meta_data": json.dumps({"name": name, "email_verified": True, "sub": uuid("supabase", number)}),
            "is_super_admin": "", "created_at": "2024-05-06 07:08:09.123456+00",
            "updated_at": "2024-05-06 07:08:09.123456+00", "phone": "",
            "banned_until": "" if active else "2099-01-01 00:00:00+00", "deleted_at": "", "is_sso_user": "f",
            "is_anonymous": "f",
        })
    table("supabase.csv", list(rows[0]), rows)

    lines = []
    for number, name, email, password, active in people("auth0"):
        lines.append(json.dumps({
            "user_id": f"auth0|{number:024x}", "email": email, "email_verified": True, "blocked": not active,
            "created_at": {"$date": WHEN}, "name": name, "identities": [{"provider": "auth0", "isSocial": False}],
            "passwordHash": blowfish(password) if password else None, "tenant": "example",
            "connection": "Username-Password-Authentication",
        }))
    write("auth0.json", "\n".join(lines) + "\n")


def with_argon2():
    hasher = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    identities = []
    for number, name, email, password, active in people("kratos"):
        salt = os.urandom(16)
        if number == 2:
            tag = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1000, 32)
            text = f"$pbkdf2-sha256$i=1000,l=32${bare(salt)}${bare(tag)}"
        else:
            text = hasher.hash(password) if password else None
        credentials = {"password": {"type": "password", "identifiers": [email], "config": {"hashed_password": text}}}
        if number == 1:
            url = "otpauth://totp/Kratos:ana?algorithm=SHA1&digits=6&issuer=Kratos&period=30&secret=JBSWY3DPEHPK3PXP"
            credentials["totp"] = {"type": "totp", "identifiers": [uuid("kratos", 1)], "config": {"totp_url": url}}
        identities.append({
            "id": uuid("kratos", number), "credentials": credentials if password else {}, "schema_id": "default",
            "schema_url": "http://127.0.0.1:4433/schemas/ZGVmYXVsdA", "state": "active" if active else "inactive",
            "state_changed_at": WHEN, "traits": {"email": email, "name": {"first": name}},
            "verifiable_addresses": [
                {"value": email, "verified": True, "via": "email", "status": "completed", "verified_at": WHEN}
            ],
            "metadata_public": None, "created_at": WHEN, "updated_at": WHEN,
        })
    pretty("kratos.json", identities)


def by_published_algorithms():
    users = []
    for number, name, email, password, active in people("keycloak"):
        salt = os.urandom(16)
        credentials = []
        if password and number == 2:
            tag = argon2.low_level.hash_secret_raw(password.encode(), salt, 1, 64, 1, 32, argon2.Type.ID)
            data = {"hashIterations": 1, "algorithm": "argon2", "additionalParameters": {
                "hashLength": ["32"], "memory": ["64"], "type": ["id"], "version": ["1.3"], "parallelism": ["1"]}}
        elif password:
            tag = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 1000, 64)
            data = {"hashIterations": 1000, "algorithm": "pbkdf2-sha512", "additionalParameters": {}}
        if password:
            credentials.append({
                "id": uuid("credential", number), "type": "password", "createdDate": 1714979289123,
                "secretData": json.dumps({"value": b64(tag), "salt": b64(salt), "additionalParameters": {}}),
                "credentialData": json.dumps(data),
            })
        if number == 1:
            credentials.append({
                "id": uuid("otp", number), "type": "otp", "secretData": json.dumps({"value": "Lr0wFYbCzHwXmTnUkVg1"}),
                "credentialData": json.dumps({
                    "subType": "totp", "digits": 6, "counter": 0, "period": 30, "algorithm": "HmacSHA1"}),
            })
        users.append({
            "id": uuid("keycloak", number), "username": f"{name}-keycloak", "email": email, "emailVerified": True,
            "createdTimestamp": 1714979289123, "enabled": active, "totp": number == 1, "credentials": credentials,
            "disableableCredentialTypes": [], "requiredActions": [], "realmRoles": ["default-roles-example"],
            "notBefore": 0, "groups": [],
        })
    users.append({"id": uuid("keycloak", 9), "username": "service-account-api", "enabled": True, "totp": False,
                  "serviceAccountClientId": "api", "credentials": [], "realmRoles": []})
    pretty("keycloak.json", {"realm": "example", "enabled": True, "roles": {"realm": []}, "users": users})

    rows = []
    for number, name, email, password, active in people("spring"):
        salt = os.urandom(16)
        text = "!"
        if number == 1:
            text = "{bcrypt}" + blowfish(password, b"2a")
        elif number == 2:
            tag = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 310_000, 32)
            text = "{pbkdf2@SpringSecurity_v5_8}" + (salt + tag).hex()
        elif number == 3:
            tag = hashlib.scrypt(password.encode(), salt=salt, n=16384, r=8, p=1, dklen=32)
            text = f"{{scrypt}}$e0801${b64(salt)}${b64(tag)}"
        rows.append({"username": email, "password": text, "enabled": str(active).lower()})
    table("spring.csv", list(rows[0]), rows)

    rows = []
    for number, name, email, password, active in people("aspnet"):
        salt = os.urandom(16)
        text = ""
        if number == 1:
            tag = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 1000, 32)
            text = b64(struct.pack(">BIII", 1, 2, 1000, 16) + salt + tag)
        elif password:
            text = b64(b"\0" + salt + hashlib.pbkdf2_hmac("sha1", password.encode(), salt, 1000, 32))
        rows.append({
            "Id": uuid("aspnet", number), "UserName": email, "NormalizedUserName": email.upper(), "Email": email,
            "NormalizedEmail": email.upper(), "EmailConfirmed": 1, "PasswordHash": text, "SecurityStamp": "S" * 32,
            "ConcurrencyStamp": uuid("stamp", number), "PhoneNumber": "NULL", "PhoneNumberConfirmed": 0,
            "TwoFactorEnabled": 1 if number == 1 else 0,
            "LockoutEnd": "NULL" if active else "2099-12-31 23:59:59.0000000 +00:00", "LockoutEnabled": 1,
            "AccessFailedCount": 0,
        })
    table("aspnet.csv", list(rows[0]), rows)
    table("aspnet-tokens.csv", ["UserId", "LoginProvider", "Name", "Value"], [{
        "UserId": uuid("aspnet", 1), "LoginProvider": "[AspNetUserStore]", "Name": "AuthenticatorKey",
        "Value": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"}])


def firebase():
    """The project of Firebase's documentation; its scrypt needs AES, which openssl has."""
    signer = base64.b64decode("jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==")
    project = {"hash_config": "SCRYPT", "base64_signer_key": b64(signer), "base64_salt_separator": "Bw==",
               "rounds": 8, "mem_cost": 14}
    users = []
    for number, name, email, password, active in people("firebase"):
        user = {
            "localId": f"uid{number:025}", "email": email, "emailVerified": True, "displayName": name,
            "lastSignedInAt": "1714979289123", "createdAt": "1714979289123", "disabled": not active,
            "providerUserInfo": [],
        }
        if password:
            salt = os.urandom(10)
            key = hashlib.scrypt(password.encode(), salt=salt + b"\x07", n=2**14, r=8, p=1, dklen=32)
            command = ["openssl", "enc", "-aes-256-ctr", "-K", key.hex(), "-iv", "0" * 32]
            encrypted = subprocess.run(command, input=signer, capture_output=True, check=True).stdout
            user |= {"passwordHash": b64(encrypted), "salt": b64(salt)}
        users.append(user)
    pretty("firebase.json", {"users": users})
    pretty("firebase-project.json", project)
    rows = []
    for user in users:
        user = {**user, "email": user["email"].replace("@firebase.", "@firebase-csv.")}
        row = [user["localId"], user["email"], "true", user.get("passwordHash", ""), user.get("salt", "")]
        row += [user["displayName"], ""] + [""] * 16 + [user["createdAt"], user["lastSignedInAt"], ""]
        row += [str(user["disabled"]).lower(), ""]
        rows.append(",".join(row) + ",")
    write("firebase.csv", "\n".join(rows) + "\n")


def directory(slappasswd):
    rows = []
    for number, name, email, password, active in people("directory"):
        text = ""
        if password:
            command = [slappasswd, "-n", "-h", "{SSHA}", "-s", password]
            text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        rows.append({"email": email, "userPassword": text, "disabled": "" if active else "TRUE"})
    table("directory.csv", list(rows[0]), rows)


if __name__ == "__main__":
    with_django()
    with_fastapi_users()
    with_bcrypt()
    with_argon2()
    by_published_algorithms()
    firebase()
    if len(sys.argv) > 1:
        directory(sys.argv[1])
