// Uses the types that openapi-typescript generates, with openapi-fetch; see ../process/clients/generated.rs.
//
// The first argument is the URL of the server.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };

const baseUrl = process.argv[2]!;
const password = "TestPass123!";
const client = createClient<paths>({ baseUrl });
const form = { "Content-Type": "application/x-www-form-urlencoded" } as const;

function check(holds: boolean, found: unknown): void {
  if (!holds) throw new Error(JSON.stringify(found));
}

const logIn = (password: string) =>
  client.POST("/api/v1/auth/token", { body: { username: "tess", password }, headers: form });

const { data: metadata } = await client.GET("/.well-known/oauth-authorization-server");
check(metadata!.grant_types_supported[0] === "refresh_token", metadata);

const registration = { email: "tess@example.com", username: "tess", password };
const registered = await client.POST("/api/v1/auth/register", { body: registration });
const user: components["schemas"]["User"] = registered.data!;
check(user.username === "tess" && user.is_active, user);
const again = await client.POST("/api/v1/auth/register", { body: registration });
check(again.error!.code === "email_taken", again.error);

const wrong = await logIn("not the password");
check(wrong.error !== undefined && "error" in wrong.error && wrong.error.error === "invalid_grant", wrong.error);
const first = (await logIn(password)).data!;
const { data: other } = await logIn(password);
const { data: pair } = await client.POST("/api/v1/auth/refresh", { body: { refresh_token: first.refresh_token } });
check(pair!.refresh_token !== first.refresh_token, pair);

const bearer = { Authorization: `Bearer ${pair!.access_token}` };
const changes = { username: "tessa", country: "CH", annual_income: 1 };
const patched = await client.PATCH("/api/v1/auth/me", { body: changes, headers: bearer });
check(patched.data!.username === "tessa", patched);
const cleared = await client.PATCH("/api/v1/auth/me", { body: { username: null }, headers: bearer });
check(cleared.data!.username === null, cleared);
const me = await client.GET("/api/v1/auth/me", { headers: bearer });
check(me.data!.country === "CH", me);

const { data: sessions } = await client.GET("/api/v1/auth/sessions", { headers: bearer });
const older = sessions!.find((session) => !session.current)!;
const ended = await client.DELETE("/api/v1/auth/sessions/{id}", {
  params: { path: { id: older.id } },
  headers: bearer,
});
check(ended.response.status === 204, ended);
const refused = await client.POST("/api/v1/auth/refresh", { body: { refresh_token: other!.refresh_token } });
check(refused.error!.code === "refresh_refused", refused.error);

const out = await client.POST("/api/v1/auth/logout", { body: { refresh_token: pair!.refresh_token } });
check(out.response.status === 204, out);
const after = await client.GET("/api/v1/auth/me", { headers: bearer });
check(after.error!.code === "token_invalid", after.error);

// The dialect of FastAPI services.
const tom = { email: "tom@example.com", password, country: "DE" };
const { data: withUser } = await client.POST("/api/auth/register", { body: tom });
check(withUser!.user.country === "DE", withUser);
const login = await client.POST("/api/auth/login", { body: { email: tom.email, password } });
check(login.data!.user.email === tom.email, login);
const short = await client.POST("/api/auth/register", { body: { email: "c@example.com", password: "short" } });
const invalid = short.error as components["schemas"]["ValidationErrors"];
check(invalid.detail[0]!.loc[1] === "password", invalid);

console.log("works");
