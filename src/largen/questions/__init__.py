"""What theory alone answers about a network: is it critical, how deep does it reach, what will its kernels cost."""
