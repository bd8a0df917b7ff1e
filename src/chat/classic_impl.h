// Inside the classic formats: those that are too long for the table.
#ifndef HTH_CHAT_CLASSIC_IMPL_H
#define HTH_CHAT_CLASSIC_IMPL_H

extern const char hth_chat_deepseek_v32[], hth_chat_deepseek_v4[], hth_chat_harmony[];
extern const char hth_chat_mistral_v3[], hth_chat_mistral_v7[], hth_chat_mistral_v11[], hth_chat_mistral_v13[],
    hth_chat_mistral_v15[];

#endif
