// The official OpenAI client for JavaScript, unmodified, against an endpoint. Exits with 0 if all is as it should be.
//
//   node openai.mjs BASE_URL MODEL        (with the package `openai` in a node_modules above)

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The package is installed in a cache folder and not beside this file.
const require = createRequire(pathToFileURL(process.env.CLIENT_MODULES + "/x.js"));
const { default: OpenAI, AuthenticationError, BadRequestError, NotFoundError } = require("openai");

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "devnet", maxRetries: 2, timeout: 120_000 });
const messages = [{ role: "user", content: "Name the capital of France." }];

const models = [];
for await (const m of client.models.list()) models.push(m.id);
assert.ok(models.includes(model), models.join());
assert.equal((await client.models.retrieve(model)).id, model);

const answer = await client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 40 });
const text = answer.choices[0].message.content;
assert.ok(["stop", "length"].includes(answer.choices[0].finish_reason));
assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
if (model.startsWith("SmolLM2")) assert.match(text, /Paris/);

let streamed = "";
let usage = null;
const stream = await client.chat.completions.create({
  model, messages, temperature: 0, max_tokens: 40, stream: true, stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(streamed, text);
assert.equal(usage.completion_tokens, answer.usage.completion_tokens);

// The helper that gathers a stream relies on roles, indices and finish reasons in the right chunks.
const gathered = await client.chat.completions
  .stream({ model, messages, temperature: 0, max_tokens: 40 })
  .finalChatCompletion();
assert.equal(gathered.choices[0].message.content, text);

const completion = await client.completions.create({ model, prompt: "Once upon a time", max_tokens: 8, temperature: 0 });
assert.equal(completion.object, "text_completion");

await assert.rejects(client.chat.completions.create({ model: "nobody", messages }), (e) => e instanceof NotFoundError && e.code === "model_not_found");
await assert.rejects(client.chat.completions.create({ model, messages: [] }), BadRequestError);
await assert.rejects(client.chat.completions.create({ model, messages, temperature: 9 }), BadRequestError);
await assert.rejects(new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 }).models.list(), AuthenticationError);
console.log("ok", JSON.stringify(text));
