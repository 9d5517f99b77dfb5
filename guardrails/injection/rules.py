"""Known phrases of attacks, as RE2 patterns over normalised text (`guardrails.text.normalised`: lower case, single spaces).

Strong rules decide alone. Weak ones are votes: they only move a score the model already suspects. A rule is kept only if it
hits almost no benign row of the training data, the ones about attacks included; rates are printed by `train.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import re2

_BEFORE = r"(?:previous|prior|preceding|above|earlier|existing|original|initial|former|past|old|your|all|any|system|developer)"
_ORDERS = r"(?:instructions?|prompts?|rules?|guidelines?|directions?|directives?|commands?|orders?|constraints?|programming|restrictions?|policies)"
_DROP = r"(?:ignore|disregard|forget|bypass|override|overrule|discard|abandon|dismiss|violate|stop following|do not follow|don't follow|pay no attention to)"
_SYSTEM = r"(?:system|initial|hidden|secret|original|full|exact|entire|internal|confidential|your|pre-?)"

STRONG: Sequence[tuple[str, str]] = (
    ("override", rf"\b{_DROP} (?:\w+ ){{0,3}}{_BEFORE} (?:\w+ ){{0,2}}{_ORDERS}\b"),
    ("override", rf"\b(?:your|the|all|any) (?:previous|prior|preceding|earlier|above|original|initial|former) (?:\w+ ){{0,1}}{_ORDERS} (?:is|are|were|have been|has been) (?:now )?(?:cancel|void|revok|invalid|overrid|suspend|obsolete|outdated|replac|lifted|no longer|null)"),
    ("override", r"\bforget (?:everything|all|anything) (?:that )?(?:you|i|we)(?:'ve| have| were| was)? (?:been )?(?:told|said|learned|know|instructed|given|were)"),
    ("override", r"\b(?:ignore|disregard|forget) (?:everything|all(?: of)?(?: the)?(?: text| content)?|anything) (?:above|before|prior|previous)"),
    ("override", r"\b(?:new|updated|real|actual) (?:system )?(?:instructions?|prompt|directive|task)s?: "),
    ("override", r"(?:ignoriere?|vergiss|missachte) (?:bitte )?(?:alle|die|deine|jede|sämtliche)[a-zäöüß ]{0,30}(?:anweisung|instruktion|regel|vorgabe)"),
    ("override", r"(?:ignore[zr]?|oublie[zr]?|néglige[zr]?) (?:toutes |tout |les |vos |tes )[a-zàâçéèêëîïôûù ]{0,30}(?:instruction|consigne|règle|directive)s?"),
    ("override", r"(?:ignora|olvida|omite|desatiende) (?:todas? |las |los |tus |cualquier )[a-záéíóúñ ]{0,30}(?:instruccion|regla|indicacion|orden|norma)"),
    ("override", r"(?:ignora|dimentica|trascura) (?:tutte |le |tutti |i |qualsiasi )[a-zàèéìòù ]{0,30}(?:istruzion|regol|direttiv|indicazion)"),
    ("override", r"(?:ignore|esqueça|desconsidere) (?:todas |as |suas |os |todos |quaisquer )[a-zãáâçéêíóôõú ]{0,30}(?:instruç|regra|orienta|diretriz)"),
    ("override", r"(?:negeer|vergeet) (?:alle |de |je |uw )[a-z ]{0,30}(?:instructies|regels|aanwijzingen)"),
    ("override", r"(?:zignoruj|ignoruj|zapomnij o) (?:wszystkie|wszystkich|poprzedni|swo)[a-ząćęłńóśźż ]{0,30}(?:instrukcj|polece|zasad|regu)"),
    ("override", r"(?:игнорируй|забудь|проигнорируй)(?:те)? (?:о |про )?(?:все|всё|предыдущ|свои)[а-яё ]{0,30}(?:инструкци|указани|правил|команд)"),
    ("override", r"(?:önceki|tüm|bütün)[a-zçğıöşü ]{0,20}(?:talimat|yönerge|kural)[a-zçğıöşü]{0,8} (?:görmezden gel|yok say|unut)"),
    ("override", r"(?:忽略|无视|無視|忘记|忘掉|忘記)[^。!?]{0,12}(?:指令|指示|说明|提示|规则|規則|命令)"),
    ("override", r"(?:以前|これまで|上記|前|すべて|全て|ルール)[^。]{0,10}(?:指示|命令|ルール|規則)?[^。]{0,3}(?:を|は)(?:無視|忘れ)"),
    ("override", r"(?:이전|위의|모든|앞의)[^.]{0,12}(?:지시|명령|규칙|지침)[^.]{0,6}(?:무시|잊)"),
    ("override", r"(?:تجاهل|انس)[^.]{0,20}(?:التعليمات|الأوامر|القواعد)"),
    ("override", r"(?:पिछले|सभी|ऊपर|पहले)[^।.]{0,20}(?:निर्देश|नियम)[^।.]{0,8}(?:अनदेखा|नज़रअंदाज़|भूल)"),
    ("extraction", rf"\b(?:reveal|print|show|output|display|repeat|recite|expose|leak|disclose|dump|reproduce|write out|spell out|give me|tell me|translate|encode|summari[sz]e|quote|copy)\b(?: \w+){{0,4}} (?:{_SYSTEM} ){{1,3}}(?:prompt|instructions|rules|guidelines|directives|configuration|system message)\b"),
    ("extraction", r"\bwhat (?:is|are|was|were) (?:in )?your (?:\w+ ){0,2}(?:system prompt|initial prompt|instructions|hidden rules|secret instructions|original prompt|system message)\b"),
    ("extraction", r"\b(?:repeat|print|output|show|copy|write|return|reveal) (?:\w+ ){0,4}(?:text|words|everything|message|content|sentences?|lines?|prompt) (?:\w+ ){0,1}(?:above|before (?:this|my)|preceding)"),
    ("persona", r"\b(?:do anything now|developer mode (?:enabled|output|activated)|jailbreak(?:ed)? mode|dan mode|god mode enabled|stay in character as dan|evil confidant|unfiltered (?:ai|assistant|chatbot|model)|ai (?:\w+ ){0,3}(?:with|has|without) (?:no|any) (?:\w+ ){0,2}(?:restrictions|filters|rules|limits|limitations|ethics|guidelines|morals))"),
    ("persona", r"\byou are (?:now )?(?:going to )?(?:pretend|act|roleplay|simulate|be) (?:\w+ ){0,4}(?:dan|aim|dude|stan|evil|amoral|unfiltered|uncensored|jailbroken)\b"),
    ("persona", r"\b(?:without|no|free (?:of|from)|ignore|ignoring|not bound by|broken free of) (?:\w+ ){0,3}(?:ethical|moral|safety|content|openai'?s?|legal) (?:\w+ ){0,2}(?:guidelines|restrictions|constraints|filters?|limitations|polic(?:y|ies)|concerns)\b.{0,200}\b(?:you (?:will|must|should|can|are)|respond|answer)\b"),
    ("markup", r"<\|(?:im_start|im_end|system|endoftext|assistant|user)\|>|\[/?inst\]|<<sys>>|\[system\](?:\(|:)|</?(?:system|instructions?|admin)>.{0,80}(?:ignore|must|you are|reveal|send|forget)"),
    ("indirect", r"(?:<!--|/\*|\[//\]: #|note to|attention|message (?:for|to)|dear|p\.?s\.? to) ?(?:\w+ ){0,3}(?:ai|llm|assistants?|language models?|automated (?:assistant|system)s?|chatbots?)\b ?[:,\]-].{0,160}\b(?:say|send|ignore|do not|must|include|tell|forward|reply|rate|recommend|visit|click|append|write|state)\b"),
    ("indirect", r"\bif you are an? (?:ai|llm|language model|assistant|automated)\b.{0,80}\b(?:say|send|ignore|must|include|forward|reply|rate|recommend|append|write|follow)\b"),
    ("exfiltration", r"!\[[^\]]{0,80}\]\(https?://[^)\s]{1,200}[?&/=][^)\s]{0,80}(?:\{|<|\[|%7b|data|secret|prompt|history|conversation)"),
)  # fmt: skip

WEAK: Sequence[tuple[str, str]] = (
    ("roleplay", r"\b(?:pretend|act as|roleplay as|you are now|from now on you|simulate being|take on the (?:role|persona))\b"),
    ("bypass", r"\b(?:jailbreak|no restrictions|unrestricted|uncensored|unfiltered|without (?:any )?(?:restrictions|warnings|disclaimers))\b"),
    ("system_talk", r"\b(?:system prompt|your instructions|your guidelines|your programming|system override|maintenance mode|debug mode|admin(?:istrator)? mode)\b"),
    ("obey", r"\b(?:you must (?:always )?(?:obey|comply|answer)|never refuse|do not refuse|cannot refuse|always comply|stay in character)\b"),
    ("address", r"\b(?:ai|llm|assistant|language model|chatbot)s?\b ?[:,].{0,40}\b(?:ignore|must|say|send|reveal)\b"),
)  # fmt: skip


class Rules:
    """All rules as one set: one pass, whatever their number."""

    def __init__(self) -> None:
        options = re2.Options()
        options.max_mem = 32 << 20
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        self._names = [*STRONG, *WEAK]
        for _, pattern in self._names:
            self._set.Add(pattern)
        self._set.Compile()

    def hits(self, text: str) -> tuple[str, int]:
        """(name of the first strong rule that hits or "", number of weak rules that hit)."""
        found = sorted(self._set.Match(text.encode("utf-8", "replace")) or ())
        strong = next((self._names[i][0] for i in found if i < len(STRONG)), "")
        return strong, sum(i >= len(STRONG) for i in found)
