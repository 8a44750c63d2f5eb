"""What the pages say was measured: studies of the gallery with what each of them claims, and what the tests measure at every run."""

from dataclasses import dataclass

TENSORS = ("V", "D", "A", "F", "B", "P", "Q", "R", "S", "T", "U", "K1", "Theta1")


@dataclass(frozen=True, kw_only=True)
class Study:
    """One run. `script` and `call`: a file of the gallery and its function; `page`: where it is said ("": in the script); `claims`: what is
    said, by name; `test`: `file::test` of the gate, which repeats it in small; `minutes` on two cores, before its first record; `needs`:
    "data", or "accelerator" where two cores take too long."""

    name: str
    script: str
    call: str
    page: str
    claims: dict[str, str]
    test: str
    seeds: str
    minutes: float | None = None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """A measured statement that a test of the gate repeats at every run, in small where it is large."""

    sentence: str
    page: str
    test: str


def erratum(name: str, place: str, anchor: str, sentence: str, test: str, seeds: str = "one per width, from 0") -> Study:
    """A formula of the sources that is wrong: `place` is file and function."""
    script, call = place.split(".")
    return Study(name=name, script=script, call=call, page=f"errata.md#pdlt-{anchor}", claims={name: sentence}, test=test, seeds=seeds)


ERRATA = (
    erratum(
        "eq-5-38", "errata.sign_of_538", "538-the-sign-of-the-ddk_0-term",
        "PDLT (5.38) has a plus before ddK_[0]: the error of the expansion falls as e⁴, not e².",
        "gallery/test_errata.py::test_small_versions", "none",
    ),
    erratum(
        "eq-5-143", "errata.coefficient_of_5143", "5143-k1-with-the-tuned-c_w",
        "PDLT (5.143): l K{1} of tanh with the tuned C_W tends to 89/72, not 13/12.",
        "theory/test_corrections.py::test_the_tuned_shift_refutes_the_printed_coefficient", "none",
    ),
    erratum(
        "footnote-24", "errata.footnote_24", "chapter-5-footnote-24-k1-of-relu",
        "PDLT ch. 5, footnote 24: K{1} of ReLU is not 0 off the diagonal.",
        "theory/test_corrections.py::test_T15_relu_two_inputs",
    ),
    erratum(
        "footnotes-20-21", "errata.footnotes_20_21", "chapter-5-footnotes-20-21-neighbours-of-half-stable-points",
        "PDLT ch. 5, footnotes 20, 21: the neighbour of GELU's half-stable point is at 3.0350, not 3.2, that of SWISH's at 14.5931.",
        "theory/test_signal.py::test_neighbours_of_half_stable_points_are_not_those_printed", "none",
    ),
    erratum(
        "eq-B-29", "errata.residual_vertex", "b24-b29-b36-fluctuations-of-residual-networks",
        "PDLT (B.24)-(B.29): fluctuations of residual ReLU networks have a three-point cumulant.",
        "agreement/test_networks_corrections.py::test_residual_relu_networks_have_a_three_point_cumulant", "numpy 0",
    ),
    Study(
        name="gradient-norm", script="errata", call="gradient_norm", page="errata.md#the-article-gradient-norm-at-finite-width-and-depth",
        claims={"gradient-norm": "The typical gradient norm of critical ReLU networks falls with depth by the exact law (logarithm)."},
        test="agreement/test_gradient_norm.py::test_depth_and_width", seeds="one per depth, from 0",
    ),
    erratum(
        "footnote-6-6", "errata_finite.noise_of_labels", "chapter-6-footnote-6-610-noise-of-the-labels",
        "PDLT ch. 6, footnote 6: noise of the labels is a ridge, no shift of C_b.",
        "prediction/test_evidence.py::test_noise_is_on_the_diagonal",
    ),
    erratum(
        "eq-6-46", "errata_finite.corner_of_646", "646-the-last-entry-of-the-kernel",
        "PDLT (6.46): the last entry is K0 - K1 + K2.",
        "gallery/test_errata.py::test_small_versions", "0",
    ),
    erratum(
        "eq-9-94", "errata_finite.rates_of_994", "994-a-missing-1n",
        "PDLT (9.94): rates of weights divided by n twice make weights stand still.",
        "gallery/test_errata.py::test_small_versions",
    ),
    erratum(
        "eq-10-80", "errata_finite.uniform_rates", "1080-1081-robustness-with-uniform-rates",
        "PDLT (10.80), (10.81): ddΘ₂ at uniform rates has a second source, as large as the first.",
        "questions/test_generalization.py::test_uniform_rates_lose_robustness_faster_than_printed",
        "10 k + i for the k-th depth and i-th width",
    ),
    erratum(
        "eq-10-113", "errata_finite.between_two_points", "10113-10117-between-two-points",
        "PDLT (10.113)-(10.117): between two train points the coefficient is s(1 - s), not four times that.",
        "questions/test_generalization.py::test_between_two_points",
    ),
    erratum(
        "eq-11-49", "errata_finite.primes_of_1149", "1149-the-recursion-of-p",
        "PDLT (11.49): the recursion of P with the primes on the right factors.",
        "gallery/test_errata.py::test_evidence_of_networks", "2",
    ),
    erratum(
        "eq-11-52", "errata_finite.kink_in_q", "1149-1152-with-a-kink",
        "PDLT (11.52) for ReLU: Q of networks has no delta function at the kink.",
        "agreement/test_tensors_measured.py::test_patterns_with_a_kink", "3",
    ),
    erratum(
        "eq-11-132", "errata_finite.optima_of_chapter_11", "11132-11142-three-optima-of-a-quadratic-model",
        "PDLT (11.132), (11.142): three optima of a quadratic model; the right formula's error falls as ε².",
        "prediction/test_nearly_kernel.py::test_each_optimum_to_first_order",
        "numpy 3",
    ),
    erratum(
        "eq-inf-157", "errata_trained.sign_of_inf157", "inf79-inf154-inf157-sign-of-the-ntks-fluctuation",
        "PDLT (∞.157): the fluctuation of the tangent kernel enters the trained mean with a minus.",
        "prediction/test_order_one.py::test_fluctuation_of_the_ntk_has_the_corrected_sign",
    ),
    erratum(
        "eq-inf-158", "errata_trained.symmetrised_of_inf158", "inf158-inf160-inf162-projectors-of-training",
        "PDLT (∞.158): Z_B has to be symmetrised.",
        "gallery/test_errata.py::test_average_of_the_trained_output_by_monte_carlo", "numpy 0",
    ),
    erratum(
        "eq-inf-160", "errata_trained.exchanged_of_inf160", "inf158-inf160-inf162-projectors-of-training",
        "PDLT (∞.160): T and U have each other's projector.",
        "gallery/test_errata.py::test_average_of_the_trained_output_by_monte_carlo", "numpy 0",
    ),
    erratum(
        "appendix-A", "errata_finite.information_in_depth", "appendix-a-what-grows-with-depth",
        "PDLT appendix A: the mutual information of two neurons grows with depth past r*.",
        "questions/test_information.py::test_information_is_monotone_in_depth", "0; exact law: one per depth, from 0",
    ),
    erratum(
        "eq-eps-25", "errata_finite.count_of_eps25", "eps25-how-many-numbers",
        "PDLT (ε.25): to order 1/n a distribution takes N⁴/8 numbers, not N².",
        "gallery/test_errata.py::test_a_run", "0",
    ),
)  # fmt: skip

GALLERY = (
    Study(
        name="poole_correlations", script="poole_correlations", call="study", page="criticality.md#measured",
        claims={
            f"C_W={C}": f"Correlations of two inputs, tanh, C_W = {C}, 20 layers, 6 starts: theory's in every layer (here at its worst)."
            for C in (1.3, 2.3, 4.0)
        },
        test="agreement/test_gallery.py::test_correlations_of_real_networks_are_those_of_poole", seeds="0, split over C_W and widths",
    ),
    Study(
        name="unit_variance", script="unit_variance", call="study", page="criticality.md#measured",
        claims={
            f"{activation}, {scheme}": f"Sizes of signals, {activation}, {words}, 8 layers: ⟨q²⟩ over theory's (at its worst)."
            for activation in ("linear", "relu", "tanh")
            for scheme, words in (("unit", "weights of unit variance"), ("lecun", "variance 1/fan_in"))
        },
        test="agreement/test_gallery.py::test_unit_variance_explodes_as_theory_says", seeds="0, split over widths",
    ),
    Study(
        name="trainable_depth", script="trainable_depth", call="study", page="criticality.md#off-criticality-two-depth-scales",
        claims={
            "rank": "The depth to which tanh networks train ranks across C_W as ξ_c (Spearman).",
            "c": "Half of the train images are right down to c ξ_c layers.",
            "shallow": "The least train accuracy of networks of less than 3 ξ_c layers.",
            "deep": "The largest train accuracy of networks of more than 12 ξ_c layers.",
        },
        test="agreement/test_gallery.py::test_networks_train_as_deep_as_correlations_live", seeds="0, 1", needs=("data",),
    ),
    Study(
        name="nngp_phase_map", script="nngp_phase_map", call="study", page="criticality.md#measured",
        claims={
            "best": "The best of 144 deep kernels on MNIST is near the critical line (distance in cells).",
            "rank": "Accuracy falls with the distance from the critical line (Spearman).",
            "error": "Interpolated kernels are those of `lg.kernel` (largest difference over the diagonal).",
        },
        test="agreement/test_gallery.py::test_the_best_deep_kernel_is_critical", seeds="numpy 0", needs=("data",),
    ),
    Study(
        name="deep_mlps", script="deep_mlps", call="study", page="criticality.md#measured",
        claims={
            f"{name}, {part}": sentence
            for name, layers in (("tanh", 100), ("gelu", 50), ("mish", 50))
            for part, sentence in (
                ("critical", f"{name}, {layers} layers, MNIST: the least lead in test accuracy of the critical start, of three seeds."),
                ("default", f"{name}, {layers} layers, MNIST: the best test accuracy from PyTorch's default start is chance."),
            )
        },
        test="agreement/test_gallery.py::test_deep_networks_train_from_the_critical_start_only", seeds="1, 2, 3", needs=("data",),
    ),
    Study(
        name="mnist_single_networks", script="mnist_single_networks", call="study", page="",
        claims={"accuracy": "Single trained networks are right on MNIST as often as draws from theory (difference at n = ∞)."},
        test="agreement/test_mnist.py::test_single_networks_are_as_right_as_theory_says", seeds="one per width, from 0", needs=("data",),
    ),
    Study(
        name="cifar_kernels", script="cifar_kernels", call="study", page="",
        claims={
            f"{kernel}, {part}": sentence.format(kernel)
            for kernel in ("NNGP", "NTK")
            for part, sentence in (
                ("alike", "CIFAR-10, {}: convolutions without pooling are no better than no convolutions (images ahead, of 500)."),
                ("pooled", "CIFAR-10, {}: Myrtle-5 is right more often than both (images ahead, of 100)."),
                ("chance", "CIFAR-10, {}: the least accuracy of the five fits is above chance (1 in 1,000)."),
            )
        },
        test="gallery/test_cifar_kernels.py::test_kernels_see_more_than_chance", seeds="none", minutes=31, needs=("data",),
    ),
    Study(
        name="parametrizations", script="parametrizations", call="study", page="lazy-and-rich.md#in-real-networks",
        claims={
            f"{face}, {side}": f"Powers of n of real networks are theory's, 15 parametrizations {where} {face} (at its worst)."
            for face in ("a_1 + b_1 = 0", "a_2 + b_2 = 1/2", "a_3 + b_3 >= 1/2", "r >= 0", "r_3 >= 0", "a_3 + b_3 + r >= 1")
            for side, where in (("inside", "that meet"), ("off", "that break"))
        },
        test="gallery/test_parametrizations.py::test_a_small_run", seeds="numpy 0; the width", minutes=12,
    ),
    Study(
        name="trained_at_finite_width", script="trained_at_finite_width", call="study",
        page="training-at-finite-width.md#held-against-trained-networks",
        claims={
            f"{quantity}{part}": f"Trained digits at finite width: {sentence} {quantity}."
            for quantity in ("mean", "variance")
            for part, sentence in (
                ("", "strength at n = ∞ of theory's 1/n pattern in the"),
                (", width 256", "strength in networks of width 256, and standard errors from what narrower ones say, in the"),
            )
        },
        test="gallery/test_trained_at_finite_width.py::test_a_small_run", seeds="one per width, from 0", needs=("data", "accelerator"),
    ),
    Study(
        name="tensors_at_finite_width", script="tensors_at_finite_width", call="study",
        page="reference/corrections.md#against-real-networks",
        claims={
            f"{activation}, {tensor}": f"{tensor} of {activation} networks is theory's in every entry (rms gap ± largest error, relative)."
            for activation in ("tanh", "gelu", "sin", "relu")
            for tensor in TENSORS
            if activation != "relu" or tensor not in "PRSTU"  # 0 in theory, or not defined at a kink
        },
        test="gallery/test_tensors_at_finite_width.py::test_a_small_run",
        seeds="2, folded with activation and group", needs=("accelerator",),
    ),
)  # fmt: skip

STUDIES = {study.name: study for study in (*ERRATA, *GALLERY)}

KEPT = (
    Kept(
        "Posterior means of tanh networks at order 1/n.", "bayes.md#measured",
        "prediction/test_posterior.py::test_posterior_mean_of_set_b",
    ),
    Kept(
        "Posterior variances, covariance and log evidence of ReLU networks at order 1/n, by reweighting.", "bayes.md#measured",
        "prediction/test_posterior.py::test_covariance_of_real_networks_by_reweighting",
    ),
    Kept(
        "What hidden layers learn.", "bayes.md#measured",
        "prediction/test_posterior.py::test_representation_update_of_set_b",
    ),
    Kept(
        "Depth limit `scatter`.", "depth-and-width.md#how-deep-at-this-width",
        "questions/test_depth.py::test_scatter_is_the_variance_over_networks_of_the_size",
    ),
    Kept(
        "Depth limit `correlations`.", "depth-and-width.md#how-deep-at-this-width",
        "questions/test_depth.py::test_at_the_limit_of_correlations_a_400th_tells_inputs_apart",
    ),
    Kept(
        "Depth limit `sizes`.", "depth-and-width.md#how-deep-at-this-width",
        "questions/test_depth.py::test_at_the_limit_of_sizes_they_have_grown_400_fold",
    ),
    Kept(
        "How far padding breaks shifts of CIFAR-10.", "laws.md#shifts",
        "theory/test_laws.py::test_cifar_images_shift_by_what_the_page_says",
    ),
    Kept(
        "Gradient norms at nine depths and widths.", "errata.md#the-article-gradient-norm-at-finite-width-and-depth",
        "agreement/test_gradient_norm.py::test_depth_and_width",
    ),
    Kept(
        "One network with its dNTK and ddNTKs.", "training-at-finite-width.md#one-network",
        "prediction/test_order_one_network.py::test_real_networks_trained_to_the_end",
    ),
    Kept(
        "K1 and Theta1 of ReLU.", "reference/corrections.md#against-real-networks",
        "agreement/test_tensors_measured.py::test_means_of_metric_and_ntk",
    ),
    Kept(
        "The variances of PyTorch's initialisations.", "pytorch-defaults.md",
        "test_docs.py::test_pytorch_initialisations_have_the_variances_of_the_table",
    ),
    Kept(
        "Plain SGD of PyTorch in rates.", "pytorch-defaults.md#plain-sgd-in-rates",
        "test_docs.py::test_pytorch_sgd_is_the_rates_of_the_table",
    ),
    Kept(
        "What the code of every page prints.", "index.md",
        "test_docs.py::test_the_code_of_a_page_prints_what_the_page_shows",
    ),
)  # fmt: skip
