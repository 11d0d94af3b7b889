// Makes exports with the JavaScript libraries: node make.mjs, in this folder. See README.md.
import { writeFileSync } from "node:fs";
import { hashPassword } from "better-auth/crypto";
import { Scrypt } from "oslo/password";
import { generateLuciaPasswordHash } from "lucia/utils";

const [one, two] = ["correct horse battery staple", "pässwörd ✓ 2"];
const when = "2024-05-06T07:08:09.123Z";
const people = [["ana", one, true], ["bob", two, true], ["cle", one, false], ["dee", null, true]];

const user = [];
const account = [];
for (const [name, password, active] of people) {
    const id = `ba${name}${"0".repeat(27)}`;
    user.push({
        id, name, email: `${name}@better-auth.example`, emailVerified: true, image: null, createdAt: when,
        updatedAt: when, role: name === "ana" ? "admin" : "user", banned: !active, banReason: null, banExpires: null,
    });
    account.push({
        id: `${id}-a`, accountId: id, providerId: password ? "credential" : "github", userId: id,
        password: password && await hashPassword(password), createdAt: when, updatedAt: when,
    });
}
const tables = { user, session: [], account, verification: [] };
writeFileSync("better-auth.json", JSON.stringify(tables, null, 1) + "\n");

const rows = [
    ["ana@salt-and-key.example", await new Scrypt().hash(one)],
    ["bob@salt-and-key.example", await generateLuciaPasswordHash(two)],
];
writeFileSync("salt-and-key.csv", "email,hash\n" + rows.map((row) => row.join(",") + "\n").join(""));
