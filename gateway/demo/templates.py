"""Chat templates (Jinja, as llama.cpp reads them) of the models that are built on the spot."""

from __future__ import annotations

#: For models whose answer does not depend on the prompt. It ends in a control token: see ``vocabulary``.
PLAIN = """\
{%- for message in messages -%}
{{ message.role }}: {{ message.content }}
{% endfor -%}
{%- if add_generation_prompt -%}<|to|>{%- endif -%}"""

#: The demo model's manners. What stands between ``<|open|><|from|>`` and ``</s>`` is the answer: see ``copyhead``.
#: The answer is laid out whether or not a generation prompt is asked for, because llama.cpp replays everything that only
#: the generation prompt adds through its grammar, and aborts the process when the grammar does not take it.
#: Tool calls are written the way Hermes and Qwen models write them, which llama.cpp's parser knows.
DEMO = """\
{%- macro words(content) -%}
  {%- if content is string -%}{{ content }}
  {%- elif content -%}{%- for part in content -%}{{ part.text }}{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- macro plain(text) -%}
  {{- text | replace("</s>", "") | replace("<|open|>", "") | replace("<|from|>", "") | replace("<|close|>", "")
      | replace("<|to|>", "") -}}
{%- endmacro -%}
{%- macro value(schema, text) -%}
  {%- if schema.enum -%}{{ schema.enum[0] | tojson }}
  {%- elif schema.type == "string" -%}{{ text | tojson }}
  {%- elif schema.type == "integer" or schema.type == "number" -%}1
  {%- elif schema.type == "boolean" -%}true
  {%- elif schema.type == "array" -%}[]
  {%- elif schema.type == "object" -%}{}
  {%- else -%}null{%- endif -%}
{%- endmacro -%}
{%- if tools -%}
# Tools
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
For each function call, return a JSON object within <tool_call></tool_call> tags:
<tool_call>
{"name": <function-name>, "arguments": <arguments>}
</tool_call>
{% endif -%}
{%- for message in messages -%}
{{ message.role }}: {{ plain(words(message.content)) }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}
{% endfor -%}
{%- set last = messages[-1] -%}
{%- if last.role != "assistant" -%}
  {%- set text = plain(words(last.content)) -%}
  {{- "<|open|><|from|>" -}}
  {%- if last.role == "tool" -%}
    {{- "The tool answered: " ~ text -}}
  {%- elif text.startswith("say: ") -%}
    {{- text[5:] -}}
  {%- elif text.startswith("count to ") -%}
    {%- set most = text[9:] | int -%}
    {%- for number in range(1, (most if most < 2000 else 2000) + 1) -%}{{ number }}{{ "" if loop.last else " " }}{%- endfor -%}
  {%- elif "your instructions" in text and messages[0].role in ["system", "developer"] -%}
    {{- "My instructions are: " ~ plain(words(messages[0].content)) -}}
  {%- elif tools -%}
    {%- set chosen = namespace(tool=tools[0].function) -%}
    {%- for tool in tools -%}
      {%- if tool.function.name in text -%}{%- set chosen.tool = tool.function -%}{%- endif -%}
    {%- endfor -%}
    {%- set function = chosen.tool -%}
    {%- set properties = (function.parameters or {}).properties or {} -%}
    {{- '<tool_call>\\n{"name": "' ~ function.name ~ '", "arguments": {' -}}
    {%- for name, schema in properties.items() -%}
      {{- name | tojson }}: {{ value(schema, text) }}{{ "" if loop.last else ", " -}}
    {%- endfor -%}
    {{- '}}\\n</tool_call>' -}}
  {%- else -%}
    {{- "You said: " ~ text -}}
    {%- if "[[" in text -%}
      {{- "\\n\\nWhat reached me: " ~ text | replace("[[", "<") | replace("]]", ">") -}}
    {%- endif -%}
  {%- endif -%}
  {{- "</s>" -}}
{%- endif -%}
{%- if add_generation_prompt -%}<|close|><|to|>{%- endif -%}"""
