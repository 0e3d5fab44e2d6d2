/*
 * Tools for a model that was never taught any: it is told of them in the system message, a grammar lets it write either the
 * use of one of them or an answer, and what it wrote is told as OpenAI tells it. It will not choose well, but what it
 * chooses is whole.
 */
import {randomUUID} from "node:crypto";
import {isObject, refuse} from "./refusals.mjs";
import {enforceable} from "./schemas.mjs";

const MOST_TOOLS = 64;
const NAME = /^[a-zA-Z0-9_-]{1,64}$/;

export function toolsOf(body) {
    const {tools, tool_choice: choice = "auto"} = body;
    if (tools === undefined || tools === null || choice === "none") return [];
    if (!Array.isArray(tools) || tools.length > MOST_TOOLS) refuse("tools", `'tools' must be a list of up to ${MOST_TOOLS} tools.`);
    if (choice !== "auto") refuse("tool_choice", "'tool_choice' must be auto or none.");
    if (tools.length && body.response_format && body.response_format.type !== "text")
        refuse("response_format", "While tools are offered no 'response_format' can be forced.", "unsupported_parameter");
    return tools.map((tool, i) => {
        const {name, description = "", parameters = {}} = (isObject(tool?.function) && tool.type === "function" && tool.function) || {};
        if (typeof name !== "string" || !NAME.test(name) || typeof description !== "string" || !isObject(parameters))
            refuse(`tools[${i}]`, `'tools[${i}]' must be {type: function, function: {name, description, parameters}}.`);
        return {name, description, parameters};
    });
}

/** A use of tools that was answered earlier, as the model would have written it. */
export function textOfCalls(calls, param) {
    if (!Array.isArray(calls)) refuse(param, `'${param}' must be a list.`);
    return calls.map((call, i) => {
        const {name, arguments: written} = (isObject(call?.function) && call.function) || {};
        if (typeof name !== "string" || typeof written !== "string")
            refuse(`${param}[${i}]`, `'${param}[${i}]' must be {id, type: function, function: {name, arguments}}.`);
        return `{"tool": ${JSON.stringify(name)}, "arguments": ${written}}`;
    }).join("\n");
}

/** The messages with a word about the tools in the first of them, which is the system's. */
export function toldOf(tools, messages) {
    if (!tools.length) return messages;
    const list = tools.map(({name, description}) => `- ${name}: ${description}`).join("\n");
    const text = `You may use a tool: answer {"tool": its name, "arguments": {…}}. The tools:\n${list}\nOr answer {"answer": "…"}.`;
    const [first, ...others] = messages;
    return first.role === "system" ? [{role: "system", text: `${first.text}\n\n${text}`}, ...others] : [{role: "system", text}, ...messages];
}

/** Keywords that no grammar can hold are left out: whoever offers a tool checks its arguments anyway. */
export function formatOfTools(tools) {
    const written = (properties) => ({type: "object", properties, required: Object.keys(properties), additionalProperties: false});
    const uses = tools.map(({name, parameters}) => written({tool: {const: name}, arguments: argumentsOf(parameters)}));
    return {type: "json_schema", schema: {oneOf: [...uses, written({answer: {type: "string"}})]}};
}

function argumentsOf(parameters) {
    const schema = enforceable(parameters, "#", {lenient: true});
    return isObject(schema.properties) && Object.keys(schema.properties).length ? {...schema, type: "object"} : {type: "object", additionalProperties: true};
}

/** What was written under that grammar: text, or the use of a tool. One that was cut off is told as it is. */
export function resultOf(result) {
    let written;
    try {
        written = JSON.parse(result.text);
    } catch {
        return result;
    }
    if (typeof written.answer === "string") return {...result, text: written.answer};
    const call = {id: `call_${randomUUID()}`, type: "function", function: {name: written.tool, arguments: JSON.stringify(written.arguments)}};
    return {...result, text: "", toolCalls: [call], finishReason: "tool_calls"};
}
