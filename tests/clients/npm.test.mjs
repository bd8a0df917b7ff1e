// The clients from npm, unmodified, against the server at HEARTH_URL: `small` chats, `mini` embeds.
// What the model writes is either its own, or said request by request in the tests' header.
import assert from "node:assert/strict";
import { test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, isStepCount, Output, streamText, tool } from "ai";
import { Ollama } from "ollama";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const url = process.env.HEARTH_URL;
const key = { apiKey: "none" };
const question = "What is the capital of France?";
const messages = [{ role: "user", content: question }];
const city = z.object({ name: z.string(), population: z.number().int() });
const call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>';
const thought = "<think>\na thought\n</think>\n\nthe answer";

// fetch for which the model writes these texts, one for each request.
function scripted(...texts) {
  return (input, init = {}) => {
    const headers = new Headers(init.headers);
    const text = texts.shift();
    assert.notEqual(text, undefined, "there are more requests than texts");
    headers.set("X-Hearth-Script", encodeURIComponent(text));
    return fetch(input, { ...init, headers });
  };
}

// ---- openai

const openai = (more) => new OpenAI({ baseURL: url + "/v1", maxRetries: 0, ...key, ...more });
const asTool = {
  type: "function",
  function: { name: "get_weather", description: "The weather in a city.", parameters: z.toJSONSchema(z.object({ city: z.string() })) },
};

test("openai chats, and streams the same", async () => {
  const ask = { model: "small", messages, temperature: 0, max_tokens: 64 };
  const whole = await openai().chat.completions.create(ask);
  assert.match(whole.choices[0].message.content, /Paris/);
  let text = "";
  let usage = null;
  for await (const c of await openai().chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
    text += c.choices[0]?.delta.content ?? "";
    usage = c.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
});

test("openai's stream helper puts the message together", async () => {
  const stream = openai({ fetch: scripted(call) }).chat.completions.stream({ model: "small", messages, tools: [asTool] });
  const done = await stream.finalChatCompletion();
  assert.deepEqual(JSON.parse(done.choices[0].message.tool_calls[0].function.arguments), { city: "Paris" });
  assert.equal(done.choices[0].finish_reason, "tool_calls");
});

test("openai's runTools goes on until the answer", async () => {
  const asked = [];
  const get = { ...asTool, function: { ...asTool.function, parse: JSON.parse, function: (a) => (asked.push(a.city), "sunny") } };
  const runner = openai({ fetch: scripted(call, "It is sunny.") }).chat.completions.runTools({ model: "small", messages, tools: [get] });
  assert.equal(await runner.finalContent(), "It is sunny.");
  assert.deepEqual(asked, ["Paris"]);
});

test("openai parses structured answers", async () => {
  const format = zodResponseFormat(city, "city");
  const done = await openai().chat.completions.parse({ model: "small", messages, response_format: format, max_tokens: 200 });
  assert.equal(typeof done.choices[0].message.parsed.population, "number");
});

test("openai's responses come whole, streamed and parsed", async () => {
  const whole = await openai({ fetch: scripted("words") }).responses.create({ model: "small", input: question });
  assert.equal(whole.output_text, "words");
  const stream = openai({ fetch: scripted("words") }).responses.stream({ model: "small", input: question });
  const kinds = [];
  for await (const event of stream) kinds.push(event.type);
  assert.equal(kinds[0], "response.created");
  assert.equal((await stream.finalResponse()).output_text, "words");
  const parsed = await openai().responses.parse({ model: "small", input: question, text: { format: zodTextFormat(city, "city") }, max_output_tokens: 200 });
  assert.equal(typeof parsed.output_parsed.name, "string");
});

test("openai completes, embeds and lists", async () => {
  const done = await openai().completions.create({ model: "small", prompt: "The capital of France is", max_tokens: 8, temperature: 0 });
  assert.match(done.choices[0].text, /Paris/);
  const vectors = await openai().embeddings.create({ model: "mini", input: ["a", "b"] });
  assert.deepEqual(vectors.data.map((d) => d.embedding.length), [384, 384]);
  const names = [];
  for await (const m of openai().models.list()) names.push(m.id);
  assert.deepEqual(names.sort(), ["mini", "small"]);
});

test("openai tells an unknown model and a picture apart from other errors", async () => {
  await assert.rejects(openai().chat.completions.create({ model: "nobody", messages }), OpenAI.NotFoundError);
  const picture = [{ type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } }];
  await assert.rejects(openai().chat.completions.create({ model: "small", messages: [{ role: "user", content: picture }] }), OpenAI.BadRequestError);
});

test("openai stops when it is told to", async () => {
  const stream = await openai().chat.completions.create({ model: "small", messages, stream: true, max_tokens: 4000 });
  let n = 0;
  for await (const _ of stream) if (++n === 3) stream.controller.abort();
  assert.ok(n < 10);
});

// ---- ai

const compatible = (more) => createOpenAICompatible({ name: "hearth", baseURL: url + "/v1", includeUsage: true, supportsStructuredOutputs: true, ...key, ...more });
const providers = {
  "@ai-sdk/openai-compatible": (more) => compatible(more)("small"),
  "@ai-sdk/openai, Responses": (more) => createOpenAI({ baseURL: url + "/v1", ...key, ...more })("small"),
  "@ai-sdk/openai, chat": (more) => createOpenAI({ baseURL: url + "/v1", ...key, ...more }).chat("small"),
  "@ai-sdk/anthropic": (more) => createAnthropic({ baseURL: url + "/v1", ...key, ...more })("small"),
};
const common = { maxOutputTokens: 200, maxRetries: 0 };

for (const [name, model] of Object.entries(providers)) {
  test(`ai generates text by ${name}`, async () => {
    const done = await generateText({ model: model(), prompt: question, temperature: 0, ...common });
    assert.match(done.text, /Paris/);
    assert.equal(done.finishReason, "stop");
    assert.ok(done.usage.inputTokens > 5 && done.usage.outputTokens > 1);
  });

  test(`ai streams text by ${name}`, async () => {
    const stream = streamText({ model: model({ fetch: scripted("one two three") }), prompt: question, ...common });
    let text = "";
    for await (const piece of stream.textStream) text += piece;
    assert.equal(text, "one two three");
    assert.equal(await stream.finishReason, "stop");
    assert.ok((await stream.usage).outputTokens > 1);
  });

  const tools = { get_weather: tool({ description: "The weather in a city.", inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `sunny in ${city}` }) };

  test(`ai calls tools and goes on by ${name}`, async () => {
    const more = { prompt: question, tools, stopWhen: isStepCount(3), ...common };
    const done = await generateText({ model: model({ fetch: scripted(call, "It is sunny.") }), ...more });
    assert.equal(done.text, "It is sunny.");
    assert.deepEqual(done.steps[0].toolResults[0].output, "sunny in Paris");
    const stream = streamText({ model: model({ fetch: scripted("I look. " + call, "It is sunny.") }), ...more });
    assert.equal(await stream.text, "It is sunny.");
    assert.deepEqual((await stream.steps)[0].toolCalls[0].input, { city: "Paris" });
  });

  test(`ai gets objects by ${name}`, async () => {
    const done = await generateObject({ model: model(), schema: city, prompt: "Tell me of Paris.", ...common });
    assert.equal(typeof done.object.population, "number");
    const stream = streamText({ model: model(), output: Output.object({ schema: city }), prompt: "Tell me of Paris.", ...common });
    for await (const _ of stream.partialOutputStream);
    assert.equal(typeof (await stream.output).name, "string");
  });
}

test("ai reads thoughts of all that tell them", async () => {
  for (const name of ["@ai-sdk/openai-compatible", "@ai-sdk/anthropic"]) {
    const done = await generateText({ model: providers[name]({ fetch: scripted(thought) }), prompt: question, ...common });
    assert.equal(done.reasoningText?.trim(), "a thought", name);
    assert.equal(done.text.trim(), "the answer", name);
  }
});

test("ai embeds", async () => {
  for (const model of [compatible().embeddingModel("mini"), createOpenAI({ baseURL: url + "/v1", ...key }).embedding("mini")]) {
    const { embeddings } = await embedMany({ model, values: ["a", "b", "c"] });
    assert.deepEqual(embeddings.map((e) => e.length), [384, 384, 384]);
  }
});

// ---- @anthropic-ai/sdk

const anthropic = (more) => new Anthropic({ baseURL: url, maxRetries: 0, ...key, ...more });

test("@anthropic-ai/sdk gets messages, streams and counts", async () => {
  const ask = { model: "small", max_tokens: 64, messages };
  const done = await anthropic({ fetch: scripted("words") }).messages.create(ask);
  assert.equal(done.content[0].text, "words");
  const final = await anthropic({ fetch: scripted(call) }).messages
    .stream({ ...ask, tools: [{ name: "get_weather", input_schema: { type: "object", properties: { city: { type: "string" } } } }] })
    .finalMessage();
  assert.equal(final.stop_reason, "tool_use");
  assert.deepEqual(final.content.at(-1).input, { city: "Paris" });
  assert.ok((await anthropic().messages.countTokens({ model: "small", messages })).input_tokens > 5);
});

// ---- ollama

const ollama = () => new Ollama({ host: url });

test("ollama lists, shows, and answers", async () => {
  assert.ok((await ollama().list()).models.some((m) => m.name.startsWith("small")));
  assert.ok((await ollama().show({ model: "small" })).capabilities.includes("tools"));
  const done = await ollama().chat({ model: "small", messages, options: { temperature: 0 }, think: false });
  assert.match(done.message.content, /Paris/);
  let text = "";
  for await (const part of await ollama().chat({ model: "small", messages, stream: true, options: { temperature: 0 }, think: false })) text += part.message.content;
  assert.equal(text, done.message.content);
  const raw = { model: "small", prompt: "The capital of France is", raw: true, options: { temperature: 0, num_predict: 8 } };
  assert.match((await ollama().generate(raw)).response, /Paris/);
});

test("ollama obeys schemas, embeds, and tells errors", async () => {
  const done = await ollama().chat({ model: "small", messages, format: z.toJSONSchema(city), think: false, options: { num_predict: 200 } });
  city.parse(JSON.parse(done.message.content));
  assert.equal((await ollama().embed({ model: "mini", input: ["a", "b"] })).embeddings.length, 2);
  await assert.rejects(ollama().chat({ model: "nobody", messages }), /nobody/);
});

test("ollama calls tools", async () => {
  const o = new Ollama({ host: url, fetch: scripted(call) });
  const done = await o.chat({ model: "small", messages, tools: [asTool] });
  assert.deepEqual(done.message.tool_calls[0].function.arguments, { city: "Paris" });
});
