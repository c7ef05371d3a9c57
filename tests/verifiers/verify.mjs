// Verifies every DIR/*.sigstore.json with the npm Sigstore libraries, offline, against the public keys
// DIR/*.pub. A bundle's hint finds its key by the SHA-256 of the PEM text. Prints one JSON object: the
// file's name to null where the bundle is accepted, and to the reason where it is not.

import { createHash, createPublicKey } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { bundleFromJSON } from "@sigstore/bundle";
import { Verifier, toSignedEntity, toTrustMaterial } from "@sigstore/verify";

const directory = process.argv[2];
const names = readdirSync(directory).sort();

const keys = new Map();
for (const name of names.filter((name) => name.endsWith(".pub"))) {
  const pem = readFileSync(join(directory, name));
  keys.set(createHash("sha256").update(pem).digest("hex"), createPublicKey(pem));
}

const nobody = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
const material = toTrustMaterial(nobody, (hint) => {
  if (!keys.has(hint)) throw new Error(`no public key has the hint ${hint}`);
  return { publicKey: keys.get(hint), validFor: () => true };
});
const verifier = new Verifier(material, { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 });

const verdicts = {};
for (const name of names.filter((name) => name.endsWith(".sigstore.json"))) {
  try {
    const bundle = bundleFromJSON(JSON.parse(readFileSync(join(directory, name), "utf8")));
    verifier.verify(toSignedEntity(bundle));
    verdicts[name] = null;
  } catch (error) {
    verdicts[name] = String(error.message ?? error);
  }
}
process.stdout.write(JSON.stringify(verdicts));
