"""The literature that docstrings cite by key."""

REFERENCES = {
    "pdlt": "D. A. Roberts, S. Yaida, B. Hanin, The Principles of Deep Learning Theory, Cambridge University Press, 2022.",
    "cho-saul": "Y. Cho, L. K. Saul, Kernel methods for deep learning, NeurIPS 2009.",
    "williams": "C. K. I. Williams, Computing with infinite networks, NeurIPS 1996.",
    "lee": "J. Lee et al., Deep neural networks as Gaussian processes, ICLR 2018.",
    "jacot": "A. Jacot, F. Gabriel, C. Hongler, Neural tangent kernel, NeurIPS 2018.",
    "lee-2019": "J. Lee et al., Wide neural networks of any depth evolve as linear models under gradient descent, NeurIPS 2019.",
    "novak": "R. Novak et al., Neural Tangents: fast and easy infinite neural networks in Python, ICLR 2020.",
    "price": "R. Price, A useful theorem for nonlinear devices having Gaussian inputs, IRE Trans. Inf. Theory, 1958.",
    "he": "K. He et al., Delving deep into rectifiers, ICCV 2015.",
    "poole": "B. Poole et al., Exponential expressivity in deep neural networks through transient chaos, NeurIPS 2016.",
    "hanin-nica": "B. Hanin, M. Nica, Products of many large random matrices and gradients in deep neural networks, CMP, 2020.",
}


def cite(key: str) -> str:
    """The full reference of a key used in docstrings.

    >>> cite("jacot")
    'A. Jacot, F. Gabriel, C. Hongler, Neural tangent kernel, NeurIPS 2018.'
    """
    return REFERENCES[key]
