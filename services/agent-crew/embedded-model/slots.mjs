/* A fixed number of slots, a bounded line in front of them, and a polite refusal behind it. */
import {RequestError} from "./refusals.mjs";

export class Slots {
    #free;
    #line = [];
    #size;
    #bound;

    constructor(slots, bound) {
        this.#free = [...slots];
        this.#size = slots.length;
        this.#bound = bound;
    }

    get running() {
        return this.#size - this.#free.length;
    }

    get waiting() {
        return this.#line.length;
    }

    /** Run `work(slot)` as soon as a slot is free; leave the line when `signal` says that nobody waits any more. */
    async use(signal, work) {
        const slot = this.#free.pop() ?? (await this.#wait(signal));
        try {
            signal.throwIfAborted();
            return await work(slot);
        } finally {
            const next = this.#line.shift();
            if (next) next(slot);
            else this.#free.push(slot);
        }
    }

    #wait(signal) {
        if (this.#line.length >= this.#bound)
            throw new RequestError(503, `All ${this.#size} slots are busy and ${this.#bound} requests wait already; try again soon.`, {
                type: "server_error",
                code: "overloaded",
                headers: {"retry-after": "2"}
            });
        return new Promise((resolve, reject) => {
            const enter = (slot) => {
                signal.removeEventListener("abort", leave);
                resolve(slot);
            };
            const leave = () => {
                this.#line.splice(this.#line.indexOf(enter), 1);
                reject(signal.reason);
            };
            this.#line.push(enter);
            signal.addEventListener("abort", leave, {once: true});
        });
    }
}
