/* How a request is refused: in OpenAI's error shape. */

export class RequestError extends Error {
    constructor(status, message, {type = "invalid_request_error", param = null, code = null, headers = {}} = {}) {
        super(message);
        Object.assign(this, {status, type, param, code, headers});
    }
}

export function refuse(param, message, code = "invalid_value", status = 400) {
    throw new RequestError(status, message, {param, code});
}

export function isObject(value) {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}
