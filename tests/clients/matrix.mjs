// Verifies access tokens with Node's libraries; see ../process/clients/matrix.rs.
//
// Reads what the server issued as JSON from standard input, and writes a row for each library.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const require = createRequire(import.meta.url);
const { jwtVerify, createRemoteJWKSet } = await import("jose");
const jsonwebtoken = require("jsonwebtoken");
const { JwksClient, passportJwtSecret } = require("jwks-rsa");
const { Strategy, ExtractJwt } = require("passport-jwt");
const { auth } = require("express-oauth2-jwt-bearer");
const oauth = await import("oauth4webapi");

const server = JSON.parse(await text(process.stdin));
const { algorithm, issuer, audience, secret, jwks_uri } = server;

async function jose(token, options) {
  const keys = secret ? new TextEncoder().encode(secret) : createRemoteJWKSet(new URL(jwks_uri));
  return jwtVerify(token, keys, options);
}

async function jsonwebtokenWithJwksRsa(token, options) {
  const client = new JwksClient({ jwksUri: jwks_uri });
  const key = (header, done) =>
    client.getSigningKey(header.kid, (error, key) => done(error, key?.getPublicKey()));
  return new Promise((done, refuse) =>
    jsonwebtoken.verify(token, secret ?? key, options, (error, claims) => (error ? refuse(error) : done(claims))),
  );
}

async function passportJwt(token, options) {
  const key = secret
    ? { secretOrKey: secret }
    : { secretOrKeyProvider: passportJwtSecret({ jwksUri: jwks_uri }) };
  const jwtFromRequest = ExtractJwt.fromAuthHeaderAsBearerToken();
  const strategy = new Strategy({ jwtFromRequest, ...key, ...options }, (claims, done) => done(null, claims));
  return new Promise((done, refuse) => {
    Object.assign(strategy, { success: done, fail: refuse, error: refuse });
    strategy.authenticate({ headers: { authorization: `Bearer ${token}` } });
  });
}

async function expressOauth2JwtBearer(token, options) {
  const headers = { host: "api.example", authorization: `Bearer ${token}` };
  const get = (name) => headers[name.toLowerCase()];
  const request = { headers, get, method: "GET", protocol: "https", originalUrl: "/", query: {}, is: () => false };
  return new Promise((done, refuse) =>
    auth(options)(request, {}, (error) => (error ? refuse(error) : done(request.auth.payload))),
  );
}

async function oauth4webapi(token, { audience, issuer, ...options }) {
  const url = new URL(issuer ?? server.issuer);
  const discovery = await oauth.discoveryRequest(url, { algorithm: "oauth2", ...options });
  const metadata = await oauth.processDiscoveryResponse(url, discovery);
  const request = new Request(server.me, { headers: { authorization: `Bearer ${token}` } });
  return oauth.validateJwtAccessToken(metadata, request, audience, options);
}

const checks = { algorithms: [algorithm], issuer, audience };
const libraries = [
  ["jose", "jose", jose, checks],
  ["jsonwebtoken, jwks-rsa", "jsonwebtoken jwks-rsa", jsonwebtokenWithJwksRsa, checks],
  ["passport-jwt, jwks-rsa", "passport-jwt jwks-rsa", passportJwt, checks],
  [
    "express-oauth2-jwt-bearer",
    "express-oauth2-jwt-bearer",
    expressOauth2JwtBearer,
    secret ? { secret, tokenSigningAlg: algorithm, issuer, audience } : { issuerBaseURL: issuer, audience },
  ],
  ["oauth4webapi", "oauth4webapi", oauth4webapi, { audience, [oauth.allowInsecureRequests]: true }],
];

const description = (name) => new URL(`node_modules/${name}/package.json`, import.meta.url);
const version = (names) =>
  names.split(" ").map((name) => JSON.parse(readFileSync(description(name), "utf8")).version).join(", ");

function reason(error) {
  const cause = error?.cause?.message ? ` (${error.cause.message})` : "";
  return `${error?.code ?? error?.name ?? "Error"}: ${error?.message ?? error}${cause}`.split("\n")[0];
}

/** Why the library refuses a token; null if it accepts it. */
async function refusal(verify, token, options) {
  try {
    await verify(token, options);
    return null;
  } catch (error) {
    return reason(error);
  }
}

async function row([library, packageName, verify, options]) {
  const { tokens } = server;
  const names = Reflect.ownKeys(options);
  const shown = (name) => (typeof name === "symbol" ? "allowInsecureRequests" : name);
  const without = (name) => Object.fromEntries(names.filter((other) => other !== name).map((n) => [n, options[n]]));

  const refused = {};
  for (const [name, token] of Object.entries(tokens)) refused[name] = await refusal(verify, token, options);
  const needed = [];
  const checked = {};
  for (const name of names) {
    if (await refusal(verify, tokens.good, without(name))) {
      needed.push(shown(name));
      continue;
    }
    checked[shown(name)] = [];
    for (const [kind, token] of Object.entries(tokens))
      if (kind !== "good" && !(await refusal(verify, token, without(name)))) checked[shown(name)].push(kind);
  }
  const defaults = await refusal(verify, tokens.good, {});
  return { library, version: version(packageName), defaults, refused, needed, checked };
}

/** Discovery, login, refresh, introspection and revocation with oauth4webapi. */
async function flow() {
  const insecure = { [oauth.allowInsecureRequests]: true };
  const url = new URL(issuer);
  const client = { client_id: "first-party" };
  const resource = { client_id: server.client_id };
  const steps = {};
  const step = async (name, run) => {
    try {
      const found = await run();
      steps[name] = found === true ? null : String(found);
    } catch (error) {
      steps[name] = reason(error);
    }
  };
  let metadata;
  let tokens;

  const discover = async (options) => {
    const answer = await oauth.discoveryRequest(url, { algorithm: "oauth2", ...options });
    metadata = await oauth.processDiscoveryResponse(url, answer);
    return metadata.issuer === issuer;
  };
  const logIn = async (password) => {
    const form = new URLSearchParams({ username: server.username, password });
    const answer = await oauth.genericTokenEndpointRequest(
      metadata, client, oauth.None(), "password", form, insecure,
    );
    return oauth.processGenericTokenEndpointResponse(metadata, client, answer);
  };
  const state = async (token) => {
    const secret = oauth.ClientSecretBasic(server.client_secret);
    const answer = await oauth.introspectionRequest(metadata, resource, secret, token, insecure);
    return (await oauth.processIntrospectionResponse(metadata, resource, answer)).active;
  };

  await step("login without https", () => discover({}));
  await step("discovery", () => discover(insecure));
  await step("login", async () => {
    tokens = await logIn(server.password);
    const answer = await oauth.protectedResourceRequest(
      tokens.access_token, "GET", new URL(server.me), undefined, undefined, insecure,
    );
    return (await answer.json()).email === `${server.username}@example.com`;
  });
  await step("wrong password", async () => {
    try {
      await logIn("not the password");
    } catch (error) {
      return error.error === "invalid_grant" || `${error.status} ${error.code}`;
    }
    return false;
  });
  await step("refresh", async () => {
    const answer = await oauth.refreshTokenGrantRequest(
      metadata, client, oauth.None(), tokens.refresh_token, insecure,
    );
    const before = tokens.refresh_token;
    tokens = await oauth.processRefreshTokenResponse(metadata, client, answer);
    return tokens.refresh_token !== before;
  });
  await step("introspection", () => state(tokens.access_token));
  await step("revocation", async () => {
    const answer = await oauth.revocationRequest(metadata, client, oauth.None(), tokens.refresh_token, insecure);
    await oauth.processRevocationResponse(answer);
    return (await state(tokens.access_token)) === false;
  });
  return { library: "oauth4webapi", version: version("oauth4webapi"), steps };
}

const rows = [];
for (const library of libraries) rows.push(await row(library));
// Connections that libraries keep open are not waited for.
process.stdout.write(JSON.stringify({ rows, flow: await flow() }), () => process.exit());
