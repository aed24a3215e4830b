"""Turn published proofs of learning, honest or forged, into run directories that can be archived and judged.

Three layouts are known, one file each: `jia` (cleverhans-lab/Proof-of-Learning), `zhang`
(ZhangRui98/Adversarial-examples-for-Proof-of-Learning) and `fang` (cleverhans-lab/practical-attacks-against-pol).
Nothing of a proof is unpickled, and none of its texts is used as a path. What it lacks is said, and stays lacking.
"""
