"""The official OpenAI client for Python, unmodified, against an endpoint. Exits with 0 if all is as it should be.

    python openai.py BASE_URL MODEL
"""

import sys

from openai import AuthenticationError, BadRequestError, NotFoundError, OpenAI

base, model = sys.argv[1:3]
client = OpenAI(base_url=base, api_key="devnet", max_retries=2, timeout=120)
question = [{"role": "user", "content": "Name the capital of France."}]


def expect(error, call, code=None):
    try:
        call()
    except error as caught:
        assert code is None or caught.code == code, (caught.code, code)
        assert caught.body["message"], caught.body
        return
    raise AssertionError(f"{error.__name__} was not raised")


models = client.models.list().data
assert model in [m.id for m in models], models
assert client.models.retrieve(model).id == model

answer = client.chat.completions.create(model=model, messages=question, temperature=0, max_tokens=40)
text = answer.choices[0].message.content
assert answer.choices[0].message.role == "assistant"
assert answer.choices[0].finish_reason in ("stop", "length")
assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
if model.startswith("SmolLM2"):
    assert "Paris" in text, text

chunks = list(
    client.chat.completions.create(
        model=model, messages=question, temperature=0, max_tokens=40, stream=True, stream_options={"include_usage": True}
    )
)
assert chunks[0].choices[0].delta.role == "assistant"
assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == answer.choices[0].finish_reason
assert chunks[-1].usage.completion_tokens == answer.usage.completion_tokens

seeded = [
    client.chat.completions.create(model=model, messages=question, seed=5, temperature=1, max_tokens=16) for _ in range(2)
]
assert seeded[0].choices[0].message.content == seeded[1].choices[0].message.content

completion = client.completions.create(model=model, prompt="Once upon a time", max_tokens=8, temperature=0)
assert completion.object == "text_completion" and completion.usage.completion_tokens <= 8

raw = client.chat.completions.with_raw_response.create(model=model, messages=question, max_tokens=1)
assert int(raw.headers["x-ratelimit-limit-requests"]) > 0

stream = client.chat.completions.create(model=model, messages=question, max_tokens=200, stream=True)
next(iter(stream))
stream.close()

expect(NotFoundError, lambda: client.chat.completions.create(model="nobody", messages=question), "model_not_found")
expect(BadRequestError, lambda: client.chat.completions.create(model=model, messages=[]))
expect(BadRequestError, lambda: client.chat.completions.create(model=model, messages=question, temperature=9))
expect(BadRequestError, lambda: client.chat.completions.create(model=model, messages=question, max_tokens=10**6))
expect(BadRequestError, lambda: client.chat.completions.create(model=model, messages=question, logit_bias={"1": 5}))
expect(
    AuthenticationError,
    lambda: OpenAI(base_url=base, api_key="wrong", max_retries=0).models.list(),
    "invalid_api_key",
)
print("ok", repr(text))
