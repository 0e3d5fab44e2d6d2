/*
 * An OpenAI-compatible HTTP server in front of one small local model: no key, no network, no GPU.
 *
 *   POST /v1/chat/completions   whole or streamed answers, JSON and the use of tools by grammar, token usage
 *   GET  /v1/models             the one model there is
 *   GET  /healthz               200 once the model is loaded
 *
 * Requests come in here, are checked in requests.mjs, wait for one of the model's slots, and are answered by model.mjs.
 * When all slots and the queue are taken the answer is 503 with Retry-After; a client that goes away stops its work.
 */
import http from "node:http";
import {randomUUID} from "node:crypto";
import {RequestError} from "./refusals.mjs";
import {parseChatRequest} from "./requests.mjs";
import {loadModel} from "./model.mjs";
import {Slots} from "./slots.mjs";
import {resultOf} from "./tools.mjs";

const setting = (name, fallback) => Number(process.env[name] || fallback);

const MODEL_FILE = process.env.CREWMESH_EMBEDDED_MODEL_FILE;
const MODEL_NAME = process.env.CREWMESH_EMBEDDED_MODEL_NAME || "smollm2-135m-instruct";
const HOST = process.env.HOST || "127.0.0.1";
const PORT = setting("PORT", 8090);
const MAX_BODY_BYTES = setting("CREWMESH_EMBEDDED_MODEL_MAX_BODY_BYTES", 1024 * 1024);
const PARALLEL = setting("CREWMESH_EMBEDDED_MODEL_PARALLEL", 1);
const QUEUE = setting("CREWMESH_EMBEDDED_MODEL_QUEUE", 64);
const STARTED = Math.floor(Date.now() / 1000);

const log = (event, fields = {}) => console.log(JSON.stringify({timestamp: new Date().toISOString(), event, ...fields}));

function sendJson(response, status, body, headers = {}) {
    if (response.headersSent || response.destroyed) return;
    response.writeHead(status, {"content-type": "application/json", ...headers}).end(JSON.stringify(body));
}

function sendError(response, error) {
    const known = error instanceof RequestError;
    if (!known) log("request failed", {level: "error", error: String(error?.stack ?? error)});
    const {status, type, param, code, headers} = known
        ? error
        : {status: 500, type: "server_error", param: null, code: "internal_error", headers: {}};
    const message = known ? error.message : "The model failed on this request; try again.";
    if (response.headersSent) {
        response.end(`data: ${JSON.stringify({error: {message, type, param, code}})}\n\n`);
        return;
    }
    sendJson(response, status, {error: {message, type, param, code}}, headers);
}

async function readBody(request) {
    const chunks = [];
    let size = 0;
    for await (const chunk of request) {
        size += chunk.length;
        if (size > MAX_BODY_BYTES)
            throw new RequestError(413, `The body is larger than ${MAX_BODY_BYTES} bytes.`, {
                code: "body_too_large",
                headers: {connection: "close"}
            });
        chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString("utf8");
}

function usageOf(result) {
    const {promptTokens, completionTokens} = result;
    return {
        prompt_tokens: promptTokens,
        completion_tokens: completionTokens,
        total_tokens: promptTokens + completionTokens
    };
}

function openStream(response, wanted) {
    const head = {id: `chatcmpl-${randomUUID()}`, object: "chat.completion.chunk", created: Math.floor(Date.now() / 1000), model: MODEL_NAME};
    const send = (fields) => response.write(`data: ${JSON.stringify({...head, ...fields})}\n\n`);
    const delta = (content, finish_reason = null) => send({choices: [{index: 0, delta: content, finish_reason}]});
    response.writeHead(200, {"content-type": "text/event-stream", "cache-control": "no-store"});
    delta({role: "assistant", content: ""});
    return {
        text: (content) => delta({content}),
        calls: (calls) => delta({tool_calls: calls.map((call, index) => ({index, ...call}))}),
        end(result) {
            delta({}, result.finishReason);
            if (wanted.includeUsage) send({choices: [], usage: usageOf(result)});
            response.end("data: [DONE]\n\n");
        }
    };
}

function wholeAnswer(result) {
    const message = {role: "assistant", content: result.toolCalls ? null : result.text, tool_calls: result.toolCalls};
    return {
        id: `chatcmpl-${randomUUID()}`,
        object: "chat.completion",
        created: Math.floor(Date.now() / 1000),
        model: MODEL_NAME,
        choices: [{index: 0, message, finish_reason: result.finishReason}],
        usage: usageOf(result)
    };
}

async function chatCompletion(model, slots, request, response) {
    const wanted = parseChatRequest(await readBody(request), MODEL_NAME);
    const gone = new AbortController();
    response.on("close", () => gone.abort(new Error("the client went away")));
    await slots.use(gone.signal, async (slot) => {
        const began = performance.now();
        // The stream opens with the first text, so that whatever goes wrong before it has a status of its own.
        let stream = null;
        const say = (text) => (stream ??= openStream(response, wanted)).text(text);
        // Whether it answers or uses a tool is known when all is written.
        const onText = wanted.stream && !wanted.mayUseTools && say;
        const written = await model.generate(slot, wanted, {onText, signal: gone.signal});
        const result = wanted.mayUseTools ? resultOf(written) : written;
        if (wanted.stream && wanted.mayUseTools && result.text) say(result.text);
        if (wanted.stream && result.toolCalls) (stream ??= openStream(response, wanted)).calls(result.toolCalls);
        const cut = result.promptTokensRemoved ? {"x-prompt-tokens-removed": String(result.promptTokensRemoved)} : {};
        if (wanted.stream) (stream ?? openStream(response, wanted)).end(result);
        else sendJson(response, 200, wholeAnswer(result), cut);
        log("completed", {seconds: (performance.now() - began) / 1000, ...usageOf(result), removed: result.promptTokensRemoved});
    });
}

async function handle(model, slots, request, response) {
    const path = request.url.split("?", 1)[0].replace(/^\/v1(?=\/)/, "");
    const route = `${request.method} ${path}`;
    if (route === "GET /healthz")
        return sendJson(response, 200, {status: "ok", model: MODEL_NAME, running: slots.running, waiting: slots.waiting});
    if (route === "GET /models")
        return sendJson(response, 200, {object: "list", data: [{id: MODEL_NAME, object: "model", created: STARTED, owned_by: "crewmesh"}]});
    if (route === "POST /chat/completions") return await chatCompletion(model, slots, request, response);
    throw new RequestError(404, `There is no ${request.method} ${path.slice(0, 100)}; use POST /v1/chat/completions or GET /v1/models.`, {code: "unknown_url"});
}

async function main() {
    if (!MODEL_FILE) throw new Error("CREWMESH_EMBEDDED_MODEL_FILE must name a GGUF model file");
    const model = await loadModel(MODEL_FILE, {parallel: PARALLEL});
    const slots = new Slots(model.slots, QUEUE);
    const server = http.createServer((request, response) => {
        handle(model, slots, request, response).catch((error) => {
            if (!response.destroyed) sendError(response, error);
        });
    });
    server.listen(PORT, HOST, () => {
        log("ready", {url: `http://${HOST}:${server.address().port}/v1`, model: MODEL_NAME, rss: process.memoryUsage().rss});
    });
    for (const signal of ["SIGTERM", "SIGINT"])
        process.once(signal, () => {
            log("stopping", {signal});
            server.close(() => process.exit(0));
            server.closeIdleConnections();
            setTimeout(() => process.exit(0), 5_000).unref();
        });
}

main().catch((error) => {
    log("could not start", {level: "error", error: String(error?.message ?? error)});
    process.exit(1);
});
