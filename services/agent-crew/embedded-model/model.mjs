/*
 * One model in memory, a few slots that share its weights, and the rule for prompts that do not fit.
 *
 * A slot is one sequence of the context; slots work at the same time and are batched by the library. The rule: a prompt may take
 * the context less what the answer needs. One that is longer loses the middle of its oldest message, down to a short head and
 * tail, then that of the next one; the system message comes last. Only when all are down to that are whole messages left out.
 */
import {getLlama, LlamaChat, LlamaLogLevel} from "node-llama-cpp";
import {RequestError} from "./refusals.mjs";

const CONTEXT_TOKENS = Number(process.env.CREWMESH_EMBEDDED_MODEL_CONTEXT || 2048);
const THREADS = Number(process.env.CREWMESH_EMBEDDED_MODEL_THREADS || 1);
const DEFAULT_ANSWER_TOKENS = 256;
const LEAST_PROMPT_TOKENS = 256;
const KEPT_OF_A_CUT_MESSAGE = 64;
const GAP = "\n[…]\n";

export async function loadModel(modelPath, {parallel}) {
    const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: LlamaLogLevel.error});
    const model = await llama.loadModel({modelPath});
    const context = await model.createContext({contextSize: CONTEXT_TOKENS, sequences: parallel, threads: THREADS, batchSize: 512});
    const slots = Array.from({length: parallel}, () => new LlamaChat({contextSequence: context.getSequence()}));
    return {slots, generate: (slot, wanted, callbacks) => generate(llama, model, slot, wanted, callbacks)};
}

async function generate(llama, model, slot, wanted, {onText, signal}) {
    const maxTokens = Math.min(wanted.maxTokens ?? DEFAULT_ANSWER_TOKENS, CONTEXT_TOKENS - LEAST_PROMPT_TOKENS);
    const grammar = await grammarFor(llama, wanted.format);
    const prompt = fit(wanted.messages, CONTEXT_TOKENS - maxTokens - 8, model, slot.chatWrapper);
    let completionTokens = 0;
    const {response, metadata} = await slot.generateResponse(historyOf(prompt.messages), {
        maxTokens,
        grammar,
        signal,
        temperature: wanted.temperature,
        topP: wanted.topP,
        seed: wanted.seed ?? Math.floor(Math.random() * 2 ** 31),
        customStopTriggers: wanted.stop,
        repeatPenalty: grammar ? undefined : againstLoops(wanted),
        onTextChunk: onText || undefined,
        onToken: (tokens) => (completionTokens += tokens.length)
    });
    return {
        text: response,
        finishReason: metadata.stopReason === "maxTokens" ? "length" : "stop",
        promptTokens: prompt.tokens,
        promptTokensRemoved: prompt.removed,
        completionTokens
    };
}

/** So small a model soon says the same again and again; callers who want it otherwise send penalties of their own. */
function againstLoops({frequencyPenalty = 0.2, presencePenalty = 0.1}) {
    return {penalty: 1.15, frequencyPenalty, presencePenalty, lastTokens: 128};
}

async function grammarFor(llama, format) {
    if (format.type === "text") return undefined;
    try {
        return format.type === "json_object" ? await llama.getGrammarFor("json") : await llama.createGrammarForJsonSchema(format.schema);
    } catch (error) {
        throw new RequestError(400, `The schema cannot be turned into a grammar: ${String(error.message).slice(0, 300)}`, {
            param: "response_format",
            code: "unsupported_schema"
        });
    }
}

function historyOf(messages) {
    const items = messages.map(({role, text}) => (role === "model" ? {type: "model", response: [text]} : {type: role, text}));
    return [...items, {type: "model", response: []}];
}

function fit(messages, budget, model, chatWrapper) {
    const sizeOf = (list) => chatWrapper.generateContextState({chatHistory: historyOf(list)}).contextText.tokenize(model.tokenizer).length;
    const before = sizeOf(messages);
    const entries = messages.map((message) => ({message, tokens: model.tokenize(message.text)}));
    const overhead = before - entries.reduce((sum, {tokens}) => sum + tokens.length, 0);
    let excess = before - budget;
    const oldestFirst = [...entries.filter(({message}) => message.role !== "system"), ...entries.filter(({message}) => message.role === "system")];
    for (const entry of oldestFirst) if (excess > 0) excess -= cutMiddle(entry, excess, model);
    const perMessage = Math.ceil(overhead / messages.length);
    while (excess > 0 && entries.length > 1) {
        const oldest = entries.findIndex(({message}, i) => message.role !== "system" || i === entries.length - 2);
        const [left] = entries.splice(oldest, 1);
        excess -= left.tokens.length + perMessage;
    }
    const kept = entries.map(({message}) => message);
    const tokens = before > budget ? sizeOf(kept) : before;
    return {messages: kept, tokens, removed: before - tokens};
}

/** Shorten one message by up to `excess` tokens, in place; the number of tokens it lost. */
function cutMiddle(entry, excess, model) {
    const {message, tokens} = entry;
    const gap = model.tokenize(GAP).length + 4; // joining texts anew may take a few tokens more than the parts did
    const keep = Math.max(KEPT_OF_A_CUT_MESSAGE, tokens.length - excess - gap);
    if (keep + gap >= tokens.length) return 0;
    const head = Math.ceil(keep / 2);
    const text = model.detokenize(tokens.slice(0, head)) + GAP + model.detokenize(tokens.slice(tokens.length - (keep - head)));
    entry.message = {...message, text};
    entry.tokens = tokens.slice(0, keep + gap);
    return tokens.length - keep - gap;
}
