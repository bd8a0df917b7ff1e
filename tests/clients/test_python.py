"""Python's clients besides those of tests/e2e, unmodified: LiteLLM's routes and LangChain's classes."""
import asyncio
import json
import os

import pydantic
import pytest

from setting import script, server  # noqa: F401

pytestmark = pytest.mark.long
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # LiteLLM asks nobody for prices
litellm = pytest.importorskip("litellm")

ASK = [{"role": "user", "content": "What is the capital of France?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather in a city.", "parameters": PARAMETERS},
}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
THOUGHT = "<think>\na thought\n</think>\n\nthe answer"

# LiteLLM's providers that talk to servers of one's own, and what follows the server's address.
ROUTES = {
    "openai": "/v1",
    "hosted_vllm": "/v1",
    "llamafile": "/v1",
    "lm_studio": "/v1",
    "ollama_chat": "",
    "ollama": "",
    "anthropic": "",
}
CHATS = [r for r in ROUTES if r != "ollama"]


def lite(server, route, call=litellm.completion, text=None, **more):
    body = {"messages": ASK, "max_tokens": 64, "temperature": 0, "max_retries": 0} | more
    headers = script(text) if text is not None else {}
    return call(model=f"{route}/small", api_base=server.url + ROUTES[route], api_key="none", extra_headers=headers, **body)


@pytest.mark.parametrize("route", ROUTES)
def test_litellm_chats(server, route):
    done = lite(server, route)
    assert "Paris" in done.choices[0].message.content
    assert done.choices[0].finish_reason == "stop"
    assert done.usage.prompt_tokens > 5 and done.usage.completion_tokens > 1


@pytest.mark.parametrize("route", ROUTES)
def test_litellm_streams_what_it_gets_in_one_piece(server, route):
    whole = lite(server, route).choices[0].message.content
    chunks = list(lite(server, route, stream=True))
    assert len(chunks) > 3
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop"]


@pytest.mark.parametrize("route", CHATS)
@pytest.mark.parametrize("stream", [False, True])
def test_litellm_calls_tools_and_returns_their_results(server, route, stream):
    done = lite(server, route, text=CALL, tools=[TOOL], stream=stream)
    if stream:
        done = litellm.stream_chunk_builder(list(done))
    assert done.choices[0].finish_reason == "tool_calls"
    call = done.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather" and json.loads(call.function.arguments) == {"city": "Paris"} and call.id
    turns = ASK + [done.choices[0].message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    again = lite(server, route, text="It is sunny.", tools=[TOOL], messages=turns)
    assert again.choices[0].message.content == "It is sunny."


@pytest.mark.parametrize("route", [r for r in CHATS if r != "anthropic"])
def test_litellm_tells_thoughts_from_answers(server, route):
    m = lite(server, route, text=THOUGHT, **({"think": True} if route == "ollama_chat" else {})).choices[0].message
    assert (m.content.strip(), m.reasoning_content.strip()) == ("the answer", "a thought")


def test_litellm_reads_thinking_blocks_of_anthropics_dialect(server):
    more = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "allowed_openai_params": ["thinking"]}
    m = lite(server, "anthropic", text=THOUGHT, max_tokens=2048, temperature=1, **more).choices[0].message
    assert (m.content.strip(), m.reasoning_content.strip()) == ("the answer", "a thought")
    assert m.thinking_blocks[0]["thinking"].strip() == "a thought"


@pytest.mark.parametrize("route", ["openai", "hosted_vllm", "ollama_chat"])
def test_litellm_gets_structured_answers(server, route):
    class City(pydantic.BaseModel):
        name: str
        is_capital: bool

    done = lite(server, route, response_format=City, max_tokens=200)
    City.model_validate_json(done.choices[0].message.content)


def test_litellm_talks_responses(server):
    done = litellm.responses(model="openai/small", input="Hi", api_base=server.url + "/v1", api_key="none",
                             extra_headers=script("words"))
    assert done.output[0].content[0].text == "words" and done.status == "completed"
    stream = litellm.responses(model="openai/small", input="Hi", api_base=server.url + "/v1", api_key="none", stream=True,
                               extra_headers=script("words"))
    kinds = [str(getattr(e.type, "value", e.type)) for e in stream]
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"


def test_litellm_asks_many_at_once(server):
    async def all_of():
        asks = [lite(server, "openai", litellm.acompletion, text=f"answer {i}") for i in range(8)]
        return [d.choices[0].message.content for d in await asyncio.gather(*asks)]

    assert asyncio.run(all_of()) == [f"answer {i}" for i in range(8)]


@pytest.mark.parametrize("route", ["openai", "hosted_vllm", "ollama", "lm_studio"])
def test_litellm_embeds(server, route):
    done = litellm.embedding(model=f"{route}/mini", input=["cat", "kitten", "tax"], api_base=server.url + ROUTES[route], api_key="none")
    cat, kitten, tax = (d["embedding"] for d in done.data)
    assert dot(cat, kitten) > dot(cat, tax) + 0.2


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def test_litellm_completes_text(server):
    done = litellm.text_completion(model="text-completion-openai/small", prompt="The capital of France is", max_tokens=8,
                                   temperature=0, api_base=server.url + "/v1", api_key="none")
    assert "Paris" in done.choices[0].text


def test_litellm_knows_what_went_wrong(server):
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(model="openai/nobody", messages=ASK, api_base=server.url + "/v1", api_key="none", max_retries=0)
    with pytest.raises(litellm.ContextWindowExceededError):
        lite(server, "openai", messages=[{"role": "user", "content": "word " * 9000}])


# ---- LangChain


def openai_chat(server, **more):
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model="small", base_url=server.url + "/v1", api_key="none", temperature=0, max_tokens=64, max_retries=0, **more)


def ollama_chat(server, text=None, **more):
    from langchain_ollama import ChatOllama

    headers = {"client_kwargs": {"headers": script(text)}} if text is not None else {}
    return ChatOllama(model="small", base_url=server.url, temperature=0, num_predict=64, **headers, **more)


def anthropic_chat(server, **more):
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(model="small", base_url=server.url, api_key="none", temperature=0, max_tokens=64, max_retries=0, **more)


def langchain_chat(server, which, text=None, **more):
    if which == "ollama":
        return ollama_chat(server, text, **more)
    headers = {"default_headers": script(text)} if text is not None else {}
    if which == "anthropic":
        return anthropic_chat(server, **headers, **more)
    return openai_chat(server, **headers, **more, **({"use_responses_api": True} if which == "responses" else {}))


CLASSES = ["openai", "responses", "ollama", "anthropic"]


@pytest.mark.parametrize("which", CLASSES)
def test_langchain_chats_and_streams(server, which):
    model = langchain_chat(server, which)
    done = model.invoke("What is the capital of France?")
    assert "Paris" in done.text
    assert done.usage_metadata["input_tokens"] > 5 and done.usage_metadata["output_tokens"] > 1
    pieces = list(model.stream("What is the capital of France?"))
    assert len(pieces) > 3 and "".join(p.text for p in pieces) == done.text


@pytest.mark.parametrize("which", CLASSES)
def test_langchain_calls_tools(server, which):
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    @tool
    def get_weather(city: str) -> str:
        """The weather in a city."""
        return "sunny in " + city

    asked = [HumanMessage("How is the weather in Paris?")]
    done = langchain_chat(server, which, CALL).bind_tools([get_weather]).invoke(asked)
    call = done.tool_calls[0]
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})
    whole = None
    for piece in langchain_chat(server, which, CALL).bind_tools([get_weather]).stream(asked):
        whole = piece if whole is None else whole + piece
    assert [(c["name"], c["args"]) for c in whole.tool_calls] == [("get_weather", {"city": "Paris"})]
    result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
    again = langchain_chat(server, which, "It is sunny.").bind_tools([get_weather]).invoke([*asked, done, result])
    assert again.text == "It is sunny."


@pytest.mark.parametrize("which", ["openai", "responses", "ollama"])
def test_langchain_gets_structured_answers(server, which):
    class City(pydantic.BaseModel):
        """A city."""

        name: str
        is_capital: bool

    got = langchain_chat(server, which).with_structured_output(City, method="json_schema").invoke("Tell me of Paris.")
    assert isinstance(got, City)


def test_langchain_asks_in_batches(server):
    model = langchain_chat(server, "openai", "fine")
    assert [d.text for d in model.batch(["a", "b", "c", "d"])] == ["fine"] * 4


def test_langchain_completes_text(server):
    from langchain_ollama import OllamaLLM
    from langchain_openai import OpenAI

    model = OpenAI(model="small", base_url=server.url + "/v1", api_key="none", temperature=0, max_tokens=8, max_retries=0)
    whole = model.invoke("The capital of France is")
    assert "Paris" in whole and "".join(model.stream("The capital of France is")) == whole
    assert "Paris" in OllamaLLM(model="small", base_url=server.url, temperature=0, num_predict=16).invoke("What is the capital of France?")


@pytest.mark.parametrize("which", ["openai", "ollama"])
def test_langchain_embeds(server, which):
    if which == "openai":
        from langchain_openai import OpenAIEmbeddings

        # Counts tokens itself, with OpenAI's vocabulary, unless it is told that the model is another's.
        model = OpenAIEmbeddings(model="mini", base_url=server.url + "/v1", api_key="none", check_embedding_ctx_length=False)
    else:
        from langchain_ollama import OllamaEmbeddings

        model = OllamaEmbeddings(model="mini", base_url=server.url)
    cat, kitten, tax = model.embed_documents(["cat", "kitten", "tax"])
    assert dot(cat, kitten) > dot(cat, tax) + 0.2
    assert dot(model.embed_query("cat"), cat) > 0.999
