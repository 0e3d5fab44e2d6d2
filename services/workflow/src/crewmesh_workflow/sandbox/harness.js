// Runs a script in deno, which has no permission here, and writes one JSON answer: {result, printed} or {failure}.
// REQUEST is replaced by the request as a JSON text. Whatever the script does to these globals, it does to its own answer.
const request = JSON.parse(REQUEST);
const { inspect, exit, stdout } = Deno;
const { stringify } = JSON;
const encoder = new TextEncoder();

let printed = "";
const print = (...values) => {
  const line = values.map((value) => (typeof value === "string" ? value : inspect(value))).join(" ") + "\n";
  printed += line.slice(0, request.most_printed - printed.length);
};
for (const name of ["log", "info", "warn", "error", "debug"]) console[name] = print;
delete globalThis.Deno;
delete globalThis.Worker; // it would outlive the script, and has memory of its own
for (const [name, value] of Object.entries(request.inputs)) globalThis[name] = value;

function answer(members) {
  const bytes = encoder.encode(stringify({ ...members, printed }));
  for (let written = 0; written < bytes.length; ) written += stdout.writeSync(bytes.subarray(written));
  exit(0);
}

function failed(error) {
  const place = /code\.js(?:, <anonymous>)?:(\d+)/.exec(error?.stack ?? "");
  const said = error instanceof Error ? `${error.name}: ${error.message}` : `${inspect(error)} was thrown`;
  const message = said.split("\n", 1)[0].slice(0, request.longest_message);
  answer({ failure: { message, line: place ? Number(place[1]) : null } });
}

try {
  const result = (await (0, eval)(`${request.source}\n//# sourceURL=code.js`)) ?? null;
  const text = stringify(result);
  if (text === undefined) throw new TypeError(`the result is a ${typeof result}, which JSON does not have`);
  if (encoder.encode(text).length > request.most_result_bytes) {
    throw new RangeError(`the result is larger than ${request.most_result_bytes / 1024} KiB of JSON`);
  }
  answer({ result });
} catch (error) {
  failed(error);
}
