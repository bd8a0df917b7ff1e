"""hearth serve as OpenAI's clients use it: the Python package `openai`, unmodified, against the default model."""
import asyncio
import json
import threading
import typing
import urllib.parse

import numpy
import openai
import pydantic
import pytest

from server import Server

ASK = [{"role": "user", "content": "What is the capital of France?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def server(hearth, models):
    with Server(hearth, models("default"), "--ctx", "4096", env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        yield s


@pytest.fixture(scope="module")
def embedder(hearth, models):
    with Server(hearth, models("minilm")) as s:
        yield s


def client_of(s, **more):
    return openai.OpenAI(base_url=s.url + "/v1", api_key="none", max_retries=0, **more)


@pytest.fixture(scope="module")
def client(server):
    return client_of(server)


def script(text):
    """What the model is made to write, by the tests' header."""
    return {"X-Hearth-Script": urllib.parse.quote(text)}


def ask(client, **more):
    return client.chat.completions.create(**{"model": "x", "messages": ASK, "temperature": 0, "max_tokens": 16} | more)


@pytest.fixture(scope="module")
def model(client):
    return client.models.list().data[0].id


# ---- models


def test_models_are_listed_and_found(client, model):
    one = client.models.retrieve(model)
    assert (one.id, one.object) == (model, "model") and one.created > 0


def test_an_unknown_model_is_a_404_that_lists_what_there_is(client, model):
    with pytest.raises(openai.NotFoundError) as e:
        ask(client, model="gpt-17")
    assert e.value.code == "model_not_found" and model in str(e.value)


# ---- chats


@pytest.fixture
def chat(client, model):
    return lambda **more: ask(client, model=model, **more)


def test_a_chat_is_answered(chat, model):
    done = chat()
    choice = done.choices[0]
    assert "Paris" in choice.message.content and choice.message.role == "assistant"
    assert choice.finish_reason in ("stop", "length") and done.model == model
    assert done.id.startswith("chatcmpl-") and done.object == "chat.completion"
    u = done.usage
    assert u.prompt_tokens == 37 and u.total_tokens == u.prompt_tokens + u.completion_tokens


def test_the_model_may_be_called_by_part_of_its_name(client, model):
    assert ask(client, model=model.split(":")[0].lower()).choices[0].message.content


def test_a_stream_says_the_same_as_the_whole(chat):
    whole = chat().choices[0]
    chunks = list(chat(stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(c.choices[0].delta.role is None for c in chunks[1:])
    assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices[0].finish_reason == whole.finish_reason
    assert len({(c.id, c.created) for c in chunks}) == 1


def test_the_async_client_streams(server, model):
    async def run():
        client = openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none")
        text = ""
        stream = await client.chat.completions.create(model=model, messages=ASK, max_tokens=16, temperature=0, stream=True)
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
        await client.close()
        return text

    assert "Paris" in asyncio.run(run())


def test_many_clients_are_served_at_once_and_none_gets_anothers_words(server, model):
    alone = {}
    client = client_of(server)
    questions = [f"Repeat the number {i}." for i in range(8)]

    def one(q, into):
        done = client.chat.completions.create(model=model, messages=[{"role": "user", "content": q}], max_tokens=24, temperature=0)
        into[q] = done.choices[0].message.content

    for q in questions:
        one(q, alone)
    together = {}
    threads = [threading.Thread(target=one, args=(q, together)) for q in questions]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert together == alone


def test_seeds_make_answers_repeatable_and_no_seed_makes_them_differ(chat):
    def text(**more):
        return chat(temperature=1.5, max_tokens=24, **more).choices[0].message.content

    assert text(seed=3) == text(seed=3)
    assert len({text() for _ in range(4)}) > 1


def test_n_answers_come_with_their_numbers(chat):
    done = chat(n=3, temperature=1.2, seed=1)
    assert [c.index for c in done.choices] == [0, 1, 2]
    assert len({c.message.content for c in done.choices}) > 1
    texts = ["", "", ""]
    for c in chat(n=3, temperature=1.2, seed=1, stream=True):
        texts[c.choices[0].index] += c.choices[0].delta.content or ""
    assert texts == [c.message.content for c in done.choices]


def test_stop_texts_end_an_answer_and_are_not_part_of_it(chat):
    done = chat(stop=["Paris"]).choices[0]
    assert done.finish_reason == "stop" and "Paris" not in done.message.content
    assert "".join(c.choices[0].delta.content or "" for c in chat(stop="Paris", stream=True)) == done.message.content


def test_logprobs_are_those_of_the_tokens(chat):
    whole = chat(logprobs=True, top_logprobs=3, max_tokens=6).choices[0]
    tokens = whole.logprobs.content
    assert "".join(t.token for t in tokens) == whole.message.content
    for t in tokens:
        assert len(t.top_logprobs) == 3 and t.top_logprobs[0].logprob == max(x.logprob for x in t.top_logprobs)
        assert t.token == t.top_logprobs[0].token and bytes(t.bytes).decode() == t.token
    streamed = [t for c in chat(logprobs=True, top_logprobs=3, max_tokens=6, stream=True) if c.choices[0].logprobs for t in c.choices[0].logprobs.content]
    assert [t.token for t in streamed] == [t.token for t in tokens]


def test_logit_bias_bans_and_forces(chat):
    first = chat(logprobs=True, max_tokens=1).choices[0].logprobs.content[0]
    other = chat(logprobs=True, max_tokens=1, logit_bias={str(first.model_extra["id"]): -100}).choices[0].logprobs.content[0]
    assert other.token != first.token


def test_an_assistants_message_at_the_end_is_continued(chat):
    messages = ASK + [{"role": "assistant", "content": "The capital of France is"}]
    assert chat(messages=messages, max_tokens=4).choices[0].message.content.lstrip().startswith("Paris")


@pytest.mark.parametrize("role", ["system", "developer"])
def test_system_messages_reach_the_model(chat, role):
    short = chat(messages=[{"role": role, "content": "x"}] + ASK).usage.prompt_tokens
    long = chat(messages=[{"role": role, "content": "x " * 20}] + ASK).usage.prompt_tokens
    assert long > short


def test_contents_may_be_parts_or_null(chat):
    parts = [{"role": "user", "content": [{"type": "text", "text": "What is the capital"}, {"type": "text", "text": " of France?"}]}]
    assert "Paris" in chat(messages=parts).choices[0].message.content
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    history = ASK + [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": "sunny"}]
    assert chat(messages=history).choices[0].message.content


@pytest.mark.parametrize(
    "part", [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}}, {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]
)
def test_parts_that_the_model_cannot_use_are_refused_by_their_place(chat, part):
    with pytest.raises(openai.BadRequestError) as e:
        chat(messages=[{"role": "user", "content": [{"type": "text", "text": "what?"}, part]}])
    assert e.value.param == "messages[0].content[1]"


def test_a_prompt_that_came_before_is_not_computed_again(chat):
    messages = [{"role": "user", "content": "This is a prompt of its own that is used two times."}]
    chat(messages=messages)
    u = chat(messages=messages).usage
    assert u.prompt_tokens_details.cached_tokens >= u.prompt_tokens - 1


# ---- tools, with the scripted model

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'


@pytest.fixture(scope="module")
def tools_server(hearth, models, tmp_path_factory):
    """A template that knows tools, as families with Hermes' format write it."""
    template = tmp_path_factory.mktemp("t") / "hermes.jinja"
    template.write_text(
        "{%- if tools %}<|im_start|>system\nTools: {% for t in tools %}{{ t | tojson }}{% endfor %} "
        "Answer in <tool_call></tool_call> tags: <tool_call>\n{\"name\": ..., \"arguments\": ...}\n</tool_call><|im_end|>\n{% endif %}"
        "{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
        "{% for c in m.tool_calls or [] %}<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
        "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    with Server(hearth, models("default"), "--ctx", "4096", "--chat-template-file", template, env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        yield s


@pytest.fixture(scope="module")
def scripted(tools_server):
    c = client_of(tools_server)
    name = c.models.list().data[0].id
    return lambda text, **more: ask(c, model=name, tools=[TOOL], max_tokens=500, extra_headers=script(text), **more)


def test_calls_of_tools_are_taken_out_of_the_text(scripted):
    choice = scripted("I will look." + CALL).choices[0]
    assert choice.finish_reason == "tool_calls"
    call = choice.message.tool_calls[0]
    assert (call.type, call.function.name) == ("function", "get_weather") and call.id
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    assert choice.message.content.strip() == "I will look."


def test_thoughts_come_by_both_names_and_are_counted(scripted):
    done = scripted("<think>hm, France</think>Paris.")
    m = done.choices[0].message
    assert m.content.strip() == "Paris." and "hm, France" in m.model_extra["reasoning_content"]
    assert m.model_extra["reasoning"] == m.model_extra["reasoning_content"]
    assert done.usage.completion_tokens_details.reasoning_tokens > 0


def test_scripts_need_the_tests_permission(hearth, models):
    with Server(hearth, models("default"), "--ctx", "2048") as s:
        c = client_of(s)
        done = ask(c, model=c.models.list().data[0].id, extra_headers=script("never"))
        assert done.choices[0].message.content != "never"


# ---- forms that the answer must have


class City(pydantic.BaseModel):
    name: str
    population: int
    kind: typing.Literal["village", "town", "city"]


def test_structured_answers_are_parsed_by_the_client(client, model):
    done = client.chat.completions.parse(model=model, messages=ASK, max_tokens=200, temperature=0, response_format=City)
    city = done.choices[0].message.parsed
    assert isinstance(city, City) and city.kind in ("village", "town", "city")


def test_any_json_object_can_be_asked_for(chat):
    done = chat(response_format={"type": "json_object"}, n=4, temperature=1.2, seed=1, max_tokens=150, frequency_penalty=1).choices
    whole = [c.message.content for c in done if c.finish_reason == "stop"]
    assert whole and all(isinstance(json.loads(w), dict) for w in whole)
    assert all(c.message.content.startswith("{") for c in done)


def test_a_grammar_is_kept_and_a_broken_one_refused(chat):
    done = chat(extra_body={"grammar": 'root ::= "yes" | "no" " " "never"'}).choices[0].message.content
    assert done in ("yes", "no never")
    with pytest.raises(openai.BadRequestError):
        chat(extra_body={"grammar": "root ::= ("})


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_call_that_must_come_comes(tools_server, choice):
    c = client_of(tools_server)
    done = ask(c, model=c.models.list().data[0].id, tools=[TOOL], tool_choice=choice, max_tokens=200, temperature=1, seed=5)
    call = done.choices[0].message.tool_calls[0].function
    assert call.name == "get_weather" and isinstance(json.loads(call.arguments)["city"], str)
    assert done.choices[0].finish_reason == "tool_calls"


def test_tools_that_are_not_wanted_are_not_called(scripted):
    choice = scripted(CALL, tool_choice="none").choices[0]
    assert not choice.message.tool_calls and choice.finish_reason == "stop"


# ---- completions


def test_completions_take_texts_tokens_and_lists(client, model):
    def text(prompt, **more):
        done = client.completions.create(model=model, prompt=prompt, max_tokens=5, temperature=0, **more)
        return [c.text for c in done.choices]

    one, two = text("The capital of France is"), text("One, two, three,")
    assert "Paris" in one[0]
    assert text(["The capital of France is", "One, two, three,"]) == one + two
    ids = [504, 3575, 282, 4649, 314]  # the same, as the model's tokenizer cuts it
    assert text(ids) == one and text([ids, ids]) == one * 2


def test_completions_echo_their_prompt_with_logprobs(client, model):
    done = client.completions.create(model=model, prompt="The capital of France is", max_tokens=2, temperature=0, echo=True, logprobs=2)
    choice = done.choices[0]
    assert choice.text.startswith("The capital of France is")
    lp = choice.logprobs
    assert lp.token_logprobs[0] is None and len(lp.tokens) == len(lp.token_logprobs) == len(lp.top_logprobs) == len(lp.text_offset) == 7
    assert "".join(lp.tokens) == choice.text and lp.text_offset[1] == len(lp.tokens[0])


def test_completions_stream(client, model):
    stream = client.completions.create(model=model, prompt=["One,", "A, B,"], max_tokens=4, temperature=0, stream=True)
    texts = ["", ""]
    for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    done = client.completions.create(model=model, prompt=["One,", "A, B,"], max_tokens=4, temperature=0)
    assert texts == [c.text for c in done.choices]


# ---- embeddings


def test_embeddings_can_be_shorter_and_come_from_tokens(embedder):
    client = client_of(embedder)
    name = client.models.list().data[0].id
    short = client.embeddings.create(model=name, input="a cat", dimensions=16).data[0].embedding
    assert len(short) == 16 and abs(sum(x * x for x in short) - 1) < 1e-4
    assert len(client.embeddings.create(model=name, input=[[101, 1037, 4937, 102], [101, 102]]).data) == 2


def test_hundreds_of_embeddings_come_in_order(embedder):
    client = client_of(embedder)
    name = client.models.list().data[0].id
    texts = [f"number {i % 7}" for i in range(300)]
    got = client.embeddings.create(model=name, input=texts)
    assert [d.index for d in got.data] == list(range(300))
    v = numpy.array([d.embedding for d in got.data])
    assert numpy.abs(v - v[numpy.arange(300) % 7]).max() < 1e-6
    assert got.usage.prompt_tokens > 300


# ---- what is not honoured


def test_fields_without_effect_are_named_and_unknown_ones_too(server, model):
    body = {"model": model, "messages": ASK, "max_tokens": 1, "verbosity": "low", "nonsense": 1, "store": None}
    reply = server.post("/v1/chat/completions", body)
    assert reply.status == 200
    assert sorted(reply.getheader("X-Hearth-Ignored").split(", ")) == ["nonsense", "verbosity"]


@pytest.mark.parametrize("field, value", [("audio", {"voice": "x"}), ("modalities", ["audio"]), ("web_search_options", {"a": 1})])
def test_fields_that_cannot_be_honoured_are_refused(chat, field, value):
    with pytest.raises(openai.BadRequestError) as e:
        chat(extra_body={field: value})
    assert e.value.param.startswith(field)


@pytest.mark.parametrize("status", [400, 404])
def test_permanent_refusals_tell_clients_not_to_try_again(server, status):
    body = {"messages": ASK, "model": "nothing"} if status == 404 else {"messages": 1}
    reply = server.post("/v1/chat/completions", body)
    assert reply.status == status and reply.getheader("x-should-retry") == "false" and reply.getheader("Retry-After") is None


def test_a_full_queue_is_a_429_with_a_time_to_come_back(hearth, models):
    with Server(hearth, models("default"), "--ctx", "1024", "--parallel", "1", "--queue", "1") as s:
        name = s.json("/v1/models")["data"][0]["id"]
        body = {"model": name, "messages": ASK, "max_tokens": 100, "ignore_eos": True}
        replies = []
        threads = [threading.Thread(target=lambda: replies.append(s.post("/v1/chat/completions", body))) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        refused = [r for r in replies if r.status != 200]
        assert refused and all(r.status == 429 and int(r.getheader("Retry-After")) >= 1 for r in refused)
        assert sum(r.status == 200 for r in replies) >= 2


# ---- what vLLM and llama-server add to chats


def test_the_tokens_of_a_chats_prompt_are_counted(server, client, model):
    counted = server.json("/v1/chat/completions/input_tokens", {"messages": ASK})
    assert counted["input_tokens"] == ask(client, model=model).usage.prompt_tokens


def test_the_last_message_is_continued_or_not_as_it_is_said(server):
    turns = ASK + [{"role": "assistant", "content": "The capital"}]
    count = lambda **more: server.json("/v1/chat/completions/input_tokens", {"messages": turns} | more)["input_tokens"]
    assert count(continue_final_message=True, add_generation_prompt=False) == count()
    assert count(continue_final_message=False) > count()
    both = {"messages": turns, "continue_final_message": True, "add_generation_prompt": True}
    reply = server.post("/v1/chat/completions", both)
    assert reply.status == 400 and json.loads(reply.body)["error"]["param"] == "continue_final_message"


def test_any_name_means_the_first_model_whatever_was_used_last(hearth, models):
    with Server(hearth, "-m", models("default"), "-m", models("minilm"), "--any-model", "--alias", "small", "--alias", "mini") as s:
        s.json("/v1/embeddings", {"model": "mini", "input": "x"})
        assert ask(client_of(s), model="gpt-5").choices[0].message.content  # MiniLM would refuse
