"""
A small server with the Hugging Face Hub's HTTP behaviour, over a folder of models: `<root>/<owner>/<name>/<files>`.

`repository` knows folders, commits and files; `facts` what they say of the model; `accounts` who may see and read them; `faults` what is made to go
wrong; `content` sends bytes; `server` speaks HTTP. Proven by the real `huggingface_hub` client (tests/unit/hack/test_hub.py, test_hub_faults.py).
"""
