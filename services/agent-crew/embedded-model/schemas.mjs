/* JSON Schemas as grammars can hold them. */
import {isObject, refuse} from "./refusals.mjs";

const CHECKED = new Set(["type", "properties", "required", "additionalProperties", "items", "prefixItems", "minItems", "maxItems", "minLength",
    "maxLength", "minProperties", "maxProperties", "enum", "const", "oneOf", "anyOf", "$defs", "$ref", "format"]);
const REMARKS = new Set(["title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated"]);
const MAPS = new Set(["properties", "$defs"]);

/**
 * A schema the grammar can enforce: every keyword that says something must be one it knows, or the promise would be empty.
 * Where nothing was promised (`lenient`) the others are left out.
 */
export function enforceable(schema, path, {lenient = false, depth = 0} = {}) {
    if (typeof schema === "boolean") return schema;
    if (!isObject(schema)) refuse("response_format", `The schema at ${path} must be an object.`);
    if (depth > 20) refuse("response_format", "The schema is nested deeper than 20 levels.");
    const deeper = (value, at) => enforceable(value, at, {lenient, depth: depth + 1});
    const result = {};
    for (const [key, value] of Object.entries(schema)) {
        const at = `${path}/${key}`;
        if (REMARKS.has(key) || (lenient && !CHECKED.has(key))) continue;
        if (!CHECKED.has(key)) refuse("response_format", `The schema keyword at ${at} is not supported by this server.`, "unsupported_schema");
        if (MAPS.has(key) && isObject(value))
            result[key] = Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, deeper(inner, `${at}/${name}`)]));
        else if (key === "anyOf" || key === "oneOf" || key === "prefixItems")
            result[key === "anyOf" ? "oneOf" : key] = Array.isArray(value) ? value.map((inner, i) => deeper(inner, `${at}/${i}`)) : refuse("response_format", `${at} must be a list.`);
        else result[key] = key === "items" || key === "additionalProperties" ? deeper(value, at) : value;
    }
    return result;
}
