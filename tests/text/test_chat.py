"""Chat templates: those of published models, and hostile ones."""

from __future__ import annotations

import sys

import pytest

from vimnp.errors import TextError
from vimnp.text.chat import ChatTemplate, Message, PlainChat

MESSAGES = [
    Message("system", "Be short."),
    Message("user", "Hello {{ there }} <b>"),
    Message("assistant", "Yes?"),
    Message("user", "Why 'é'?"),
]

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message.content "
    "+ '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
BRACKETS = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate: ' ~ message.role) }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {%- if loop.first and system_message is defined %}
            {{- '[INST] ' + system_message + '\\n\\n' + message['content'] + '[/INST]' }}
        {%- else %}
            {{- '[INST] ' + message['content'] + '[/INST]' }}
        {%- endif %}
    {%- else %}
        {{- ' ' + message['content'].strip() + eos_token }}
    {%- endif %}
{%- endfor %}"""
MANY = """{%- macro shown(message, n=2) -%}
{{ n * 2 }}{{ message.content | upper | replace('H', 'J') }}{{ message | tojson }}
{%- endmacro -%}
{%- set ns = namespace(count=0, seen=[]) -%}
{%- for message in messages | selectattr('role', 'equalto', 'user') -%}
{%- if loop.index0 > 5 %}{% break %}{% endif -%}
{%- set ns.count = ns.count + 1 -%}
{%- set ns.seen = ns.seen + [message.role] -%}
{{ shown(message, n=loop.index) }};
{%- endfor -%}
{{ ns.count }} {{ ns.seen | join(',') }} {{ [1, 'é'] | tojson }} {{ messages | length }}
{%- for key, value in {'a': 1}.items() %} {{ key ~ value }}{% endfor -%}
{%- for i in range(3) %} {{ i }}{{ 'x' if i is divisibleby 2 else 'y' }}{% endfor -%}
{{ ' '.join(['a', 'b']).split(' ')[-1] }}{{ 'r' * 2 }}{% for m in ['qaq'] %}
{{- m.replace('a', 'u') }}{% endfor %}{{ missing }}{{ (1.5 + 2) | int }}
{%- filter upper %}q{% endfilter -%}{% set c %}w{{ 1 }}{% endset %}{{ c }}"""


def test_messages_without_a_template_are_a_script_of_two() -> None:
    assert PlainChat().render(MESSAGES) == (
        "Be short.\n\nUser: Hello {{ there }} <b>\nAssistant:Yes?\nUser: Why 'é'?\nAssistant:"
    )
    assert PlainChat().stop == ("\nUser:",)


class TestTemplates:
    @pytest.fixture(autouse=True)
    def jinja2(self) -> None:
        pytest.importorskip("jinja2")

    def test_the_usual_ones(self) -> None:
        assert ChatTemplate(CHATML).render(MESSAGES[1:]) == (
            "<|im_start|>user\nHello {{ there }} <b><|im_end|>\n"
            "<|im_start|>assistant\nYes?<|im_end|>\n"
            "<|im_start|>user\nWhy 'é'?<|im_end|>\n<|im_start|>assistant\n"
        )
        template = ChatTemplate(BRACKETS, bos_token="<s>", eos_token="</s>")
        assert template.render(MESSAGES) == (
            "<s>[INST] Be short.\n\nHello {{ there }} <b>[/INST] Yes?</s>[INST] Why 'é'?[/INST]"
        )

    def test_what_templates_use(self) -> None:
        assert ChatTemplate(MANY).render(MESSAGES) == (
            '2JELLO {{ TJERE }} <B>{"role": "user", "content": "Hello {{ there }} <b>"};'
            "4WJY 'É'?"
            '{"role": "user", "content": "Why \'é\'?"};'
            '2 user,user [1, "é"] 4 a1 0x 1y 2xbrrquq3Qw1'
        )

    def test_a_long_chat_is_no_reason_to_refuse(self) -> None:
        content = "word " * 100_000
        messages = [Message("user", content), Message("assistant", content)] * 5
        for source in (CHATML, BRACKETS):
            assert ChatTemplate(source).render(messages).count(content.strip()) == 10

    def test_what_a_template_refuses_is_said(self) -> None:
        with pytest.raises(TextError, match=r"cannot be applied .*roles must alternate: assistant"):
            ChatTemplate(BRACKETS).render(MESSAGES[:1] + MESSAGES[2:])

    @pytest.mark.parametrize(
        "source",
        [
            "{% for",
            "{{ 1 / 0 }}",
            "{{ messages.content.x }}",
            "{{ messages }}",
            "{{ nothing() }}",
            "{{ 'a'|nofilter }}",
            "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
            "{{ " + "[" * 2_000 + "]" * 2_000 + " }}",
            "{{ " + "-" * 60_000 + "1 }}",
            "{% if 1 %}" * 150 + "{% endif %}" * 150,
            "{% for i in [1] %}" * 60 + "x" + "{% endfor %}" * 60,
            "{{ 1" + "0" * 60_000 + " }}",
            "{{ '\\ud800\\udc00' }}{% include 'a' %}",
            "x" * 70_000,
        ],
        ids=lambda source: source[:20],
    )
    def test_what_is_no_template_is_one_clear_error(self, source: str) -> None:
        with pytest.raises(TextError, match="chat template"):
            ChatTemplate(source).render(MESSAGES)

    @pytest.mark.parametrize(
        "source",
        [
            "{{ ''.__class__.__mro__[1].__subclasses__() }}",
            "{{ messages.__class__ }}",
            "{{ raise_exception.__globals__ }}",
            "{{ namespace.__init__.__globals__ }}",
            "{{ range.__self__ }}",
            "{{ range.__func__ }}",
            "{{ self.__init__ }}{{ self._TemplateReference__context }}",
            "{{ '{0.__class__}'.format(1) }}",
            "{{ '{x}'.format_map(messages[0]) }}",
            "{{ messages.append(1) }}",
            "{{ messages[0].update(a=1) }}",
            "{{ messages[0]['content'].encode() }}",
            "{{ (5).to_bytes(1000000000) }}",
            "{{ lipsum.__globals__ }}",
            "{{ cycler('a') }}",
            "{{ 'a'|attr('__class__') }}",
            "{{ messages|map(attribute='__class__')|list }}",
            "{% include '/etc/passwd' %}",
            "{% import 'os' as os %}",
            "{% from 'os' import system %}",
            "{% extends 'a' %}",
            "{% for a in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}",
            "{% macro m() %}{% endmacro %}{{ m.__init__.__globals__ }}{{ m._func.__globals__ }}",
        ],
    )
    def test_a_template_reaches_nothing(self, source: str) -> None:
        messages = [Message("user", "hello")]
        try:
            text = ChatTemplate(source).render(messages)
        except TextError:
            return
        assert text == ""  # what is unsafe is as if it were not there

    @pytest.mark.parametrize(
        "source",
        [
            "{{ 'a' * 10000000000 }}",
            "{{ 10000000000 * 'a' }}",
            "{{ [0] * 10000000000 }}",
            "{{ 9 ** 9 ** 9 ** 9 }}",
            "{{ '%1000000000d' % 1 }}",
            "{{ 'a'|center(1000000000) }}",
            "{{ 'a'.center(1000000000) }}",
            "{{ 'a'|format(1) }}",
            "{{ 'a\\nb'|indent(1000000000) }}",
            "{{ messages|tojson(indent=1000000000)|length / 0 }}",
            "{{ 'a'.zfill(1000000000) }}",
            "{{ 'a\\t'.expandtabs(1000000000) }}",
            "{{ range(1000000000)|list }}",
            "{{ range(1000000000)|sum }}",
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
            "{% for a in range(9999) recursive %}{{ loop([1]) }}{% endfor %}",
            "{% macro m(n) %}{{ m(n) }}{% endmacro %}{{ m(1) }}",
            "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}"
            "{{ m(60) }}",
            "{% set n = namespace(x='ab') %}{% for i in range(60) %}"
            "{% set n.x = n.x ~ n.x %}{% endfor %}",
            "{% set n = namespace(x='ab') %}{% for i in range(60) %}"
            "{% set n.x = n.x + n.x %}{% endfor %}",
            "{% set n = namespace(x='ab') %}{% for i in range(60) %}"
            "{% set x %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = x %}{% endfor %}",
            "{% set n = namespace(x='ab') %}{% for i in range(60) %}"
            "{% set n.x = n.x.replace('a', n.x) %}{% endfor %}",
            "{% set n = namespace(x='ab') %}{% for i in range(60) %}"
            "{% set n.x = n.x|replace('a', n.x) %}{% endfor %}",
            "{% set n = namespace(x='ab') %}{% for i in range(60) %}"
            "{% set n.x = n.x.join([n.x, n.x]) %}{% endfor %}",
            "{% set n = namespace(x='ab') %}{% for i in range(60) %}"
            "{% set n.x = [n.x, n.x]|join(n.x) %}{% endfor %}",
            "{% set n = namespace(x='ab') %}{% for i in range(60) %}"
            "{% set n.x = (n.x|tojson)|tojson %}{% endfor %}",
            "{% set n = namespace(x='ab') %}{% for i in range(60) %}"
            "{% set n.x %}{% filter upper %}{{ n.x }}{{ n.x }}{% endfilter %}{% endset %}"
            "{% endfor %}{{ 1 / 0 }}",
            "{% set n = namespace(x=[1]) %}{% for i in range(60) %}"
            "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x|tojson }}",
            "{% set n = namespace(x=(1,)) %}{% for i in range(60) %}"
            "{% set n.x = (n.x, n.x) %}{% endfor %}",
            "{% set n = namespace(x=[1]) %}{% for i in range(60) %}"
            "{% set n.x = {'a': n.x, 'b': n.x} %}{% endfor %}",
            "{% set n = namespace(x=[1]) %}{% for i in range(60) %}"
            "{% set n.x = n.x + n.x %}{% endfor %}",
            "{% set n = namespace(x=3) %}{% for i in range(60) %}"
            "{% set n.x = n.x * n.x %}{% endfor %}",
            "{% set t = 'abcdefgh' * 1 %}{% for i in range(99999) %}{{ t.split('') }}{% endfor %}",
            "{% for i in range(1000) %}" + "x" * 60_000 + "{% endfor %}",
            "{% set x %}{% for i in range(1000) %}" + "x" * 60_000 + "{% endfor %}{% endset %}",
            "{% set n = namespace(x='a b ') %}{% for i in range(18) %}{% set n.x = n.x ~ n.x %}"
            "{% endfor %}{% for i in range(999) %}{% set n.y = [n.y, n.x.split()] %}{% endfor %}",
        ],
    )
    def test_a_template_cannot_take_for_ever_or_all_memory(self, source: str) -> None:
        with pytest.raises(TextError, match="chat template"):
            ChatTemplate(source).render([Message("user", "hello")])

    def test_without_the_package_the_message_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "jinja2", None)
        with pytest.raises(TextError, match=r"jinja2: pip install 'vimnp\[text\]'"):
            ChatTemplate(CHATML)
