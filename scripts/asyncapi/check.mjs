// Reads schemas/asyncapi.yaml with AsyncAPI's own parser, and the JSON Schemas with Ajv: a second reading, by
// tools of another language than the project's.
//
//   node check.mjs FOLDER-WITH-NODE_MODULES FOLDER-OF-SCHEMAS
//
// The parser follows the references and checks the document's form. Ajv then judges the examples: those of the
// messages as AsyncAPI reads them (draft-07, headers too), and every example file against the JSON Schema files
// (draft 2020-12, strict: an unknown keyword is an error).
// Exit code 1 on any error or warning.
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [modules, schemas] = process.argv.slice(2);
const require = createRequire(resolve(modules, "package.json"));
const { Parser, fromFile } = require("@asyncapi/parser");
const Ajv = require("ajv").default;
const Ajv2020 = require("ajv/dist/2020").default;
const addFormats = require("ajv-formats").default;

const WARNING = 1; // severities: 0 error, 1 warning, 2 information, 3 hint
let failures = 0;

function fail(message) {
  failures += 1;
  console.error(message);
}

function checkMessage(message) {
  const title = message.payload()?.title();
  if (title !== message.title()) return fail(`${message.id()}: its payload was not resolved (${title})`);
  const ajv = addFormats(new Ajv({ strict: false, allErrors: true }));
  const { $schema, $id, ...payload } = message.payload().json();
  const judges = { payload: ajv.compile(payload), headers: ajv.compile(message.headers().json()) };
  for (const example of message.examples().all()) {
    for (const [part, fits] of Object.entries(judges)) {
      if (!fits(example[part]())) {
        fail(`${message.id()}, example ${example.name()}: ${part}: ${ajv.errorsText(fits.errors)}`);
      }
    }
  }
  if (message.examples().length < 2) fail(`${message.id()}: fewer than two examples`);
}

async function checkDocument() {
  const { document, diagnostics } = await fromFile(new Parser(), join(schemas, "asyncapi.yaml")).parse();
  for (const found of diagnostics.filter(({ severity }) => severity <= WARNING)) {
    const where = `${found.path.join(".")} (line ${found.range.start.line + 1})`;
    fail(`asyncapi.yaml: ${where}: ${found.message} [${found.code}]`);
  }
  if (!document) return;
  for (const message of document.components().messages().all()) checkMessage(message);
  for (const operation of document.operations().all()) {
    if (operation.messages().isEmpty()) fail(`${operation.id()}: carries no message`);
  }
  const counts = [document.channels(), document.operations(), document.components().messages()];
  const [channels, operations, messages] = counts.map((all) => all.all().length);
  console.log(`asyncapi.yaml: ${channels} channels, ${operations} operations, ${messages} messages`);
}

function read(...path) {
  return JSON.parse(readFileSync(join(schemas, ...path), "utf8"));
}

function checkExamples() {
  // strictTypes would want a type repeated inside if/then/else; everything else is strict.
  const ajv = addFormats(new Ajv2020({ strict: true, strictTypes: false, allErrors: true }));
  let judged = 0;
  for (const type of readdirSync(join(schemas, "examples"))) {
    const fits = ajv.compile(read("json", `${type}.schema.json`));
    for (const name of readdirSync(join(schemas, "examples", type))) {
      judged += 1;
      if (fits(read("examples", type, name)) !== name.startsWith("valid-")) {
        fail(`${type}/${name}: ${ajv.errorsText(fits.errors)}`);
      }
    }
  }
  if (judged === 0) fail("no examples");
  console.log(`examples: ${judged} judged by Ajv`);
}

await checkDocument();
checkExamples();
process.exitCode = failures === 0 ? 0 : 1;
